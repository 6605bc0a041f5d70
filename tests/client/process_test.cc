// Children are started through the `tenon` program itself; here /proc/self/exe is this test, whose main hands such
// starts on.
#include "client/cli/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::cli {
namespace {

namespace fs = std::filesystem;

// Runs before gtest's main: a start of this test as a child becomes that child.
__attribute__((constructor)) void BecomeChildBeforeMain(int argc, char** argv, char**) {
  if (argc > 1 && std::strcmp(argv[1], kBecomeChild) == 0) _exit(BecomeChild(argc, argv));
}

class ProcessTest : public testing::Test {
 protected:
  ProcessTest() : log_((folder_ / "log").string()) {}
  ProcessSpec Shell(const std::string& script) {
    return {.name = "child", .program = "/bin/sh", .args = {"-c", script}, .log_file = log_};
  }
  std::string Log() {
    std::ostringstream text;
    text << std::ifstream(log_).rdbuf();
    return text.str();
  }
  // Waits for the child to end by itself.
  std::string End(Process& process) {
    while (!process.Ended()) usleep(1000);
    return *process.Ended();
  }
  void WaitForLog(const std::string& text) {
    while (Log().find(text) == std::string::npos) usleep(1000);
  }

  test::TempFolder folder_;
  std::string log_;
};

TEST_F(ProcessTest, OutputGoesToTheLogAndTheExitCodeIsKept) {
  auto process = Process::Start(Shell("echo out; echo err >&2; exit 3"));
  ASSERT_TRUE(process.ok()) << process.status();
  EXPECT_EQ(End(*process), "exit code 3");
  EXPECT_EQ(Log(), "out\nerr\n");
  EXPECT_EQ(Tail(log_, 1), "  err");
}

TEST_F(ProcessTest, StopAsksFirst) {
  auto process = Process::Start(Shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done"));
  ASSERT_TRUE(process.ok());
  WaitForLog("up");
  EXPECT_TRUE(process->Stop(absl::Seconds(30)));
  EXPECT_EQ(*process->Ended(), "exit code 0");
  EXPECT_EQ(Log(), "up\nbye\n");
}

TEST_F(ProcessTest, StopKillsWhatDoesNotListen) {
  auto process = Process::Start(Shell("trap '' TERM; echo up; while :; do sleep 0.01; done"));
  ASSERT_TRUE(process.ok());
  WaitForLog("up");
  EXPECT_FALSE(process->Stop(absl::Milliseconds(50)));
  EXPECT_EQ(*process->Ended(), "signal 9");
}

TEST_F(ProcessTest, TheChildHasAGroupOfItsOwnAndNoSignalsBlocked) {
  sigset_t blocked, old;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &old);
  auto process = Process::Start(Shell("exec sleep 1000"));
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  ASSERT_TRUE(process.ok());
  EXPECT_EQ(getpgid(process->pid()), process->pid());
  // SIGTERM works although it was blocked here.
  EXPECT_TRUE(process->Stop(absl::Seconds(30)));
  EXPECT_EQ(*process->Ended(), "signal 15");
}

TEST_F(ProcessTest, AProgramThatCannotRunSaysSo) {
  auto process = Process::Start({.name = "child", .program = "/nowhere/program", .args = {}, .log_file = log_});
  ASSERT_TRUE(process.ok());
  EXPECT_EQ(End(*process), "exit code 127");
  EXPECT_NE(Log().find("/nowhere/program"), std::string::npos);
}

TEST_F(ProcessTest, AChildOfADeadParentDoesNotStart) {
  const std::string parent = "1";  // never this process
  std::string self = kBecomeChild, program = "/bin/true", name = "tenon";
  char* argv[] = {name.data(), self.data(), const_cast<char*>("999999999"), program.data(), nullptr};
  EXPECT_EQ(BecomeChild(4, argv), 1);
}

TEST_F(ProcessTest, ProgramsAreFoundBesideThisOne) {
  EXPECT_FALSE(ProgramBeside("no-such-program").ok());
  EXPECT_TRUE(absl::IsNotFound(ProgramBeside("no-such-program").status()));
}

}  // namespace
}  // namespace tenon::cli
