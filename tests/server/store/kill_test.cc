// A process killed in the midst of writes loses nothing that it acknowledged. (That the disk keeps it, too, is what
// synchronous=FULL is for; a kill alone cannot show it.)
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "common/formats/status.h"
#include "server/store/sqlite/sqlite_store.h"
#include "tests/common/formats/temp_folder.h"

extern char** environ;

namespace tenon::server {
namespace {

constexpr int kRounds = 12;

// How a writer ended, and the ids that it acknowledged.
struct Ended {
  int status = 0;
  std::vector<std::string> ids;
};

// Runs a writer (the last arguments of `command`) until it has acknowledged `lines` writes, then kills it; or until it
// ends.
Ended RunWriter(std::vector<std::string> command, int lines) {
  int pipe_ends[2];
  EXPECT_EQ(pipe(pipe_ends), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, pipe_ends[0]);
  std::vector<char*> arguments;
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = 0;
  EXPECT_EQ(posix_spawnp(&pid, command[0].c_str(), &actions, nullptr, arguments.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(pipe_ends[1]);

  std::string text;
  char buffer[4096];
  bool killed = false;
  int seen = 0;
  while (true) {
    const ssize_t size = read(pipe_ends[0], buffer, sizeof(buffer));
    if (size <= 0) break;
    text.append(buffer, static_cast<size_t>(size));
    for (ssize_t i = 0; i < size; ++i) seen += buffer[i] == '\n' ? 1 : 0;
    if (!killed && seen >= lines) {
      kill(pid, SIGKILL);  // what it acknowledged before dying is still read from the pipe
      killed = true;
    }
  }
  close(pipe_ends[0]);
  Ended ended;
  waitpid(pid, &ended.status, 0);
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    ended.ids.push_back(text.substr(begin, end - begin));
  }
  return ended;
}

TEST(StoreKillTest, AcknowledgedWritesSurviveSigkill) {
  test::TempFolder folder;
  std::mt19937 random(20240607);
  std::vector<std::string> acknowledged;
  for (int round = 0; round < kRounds; ++round) {
    const Ended ended =
        RunWriter({STORE_WRITER, folder.path().string(), std::to_string(round)}, 1 + static_cast<int>(random() % 150));
    ASSERT_TRUE(WIFSIGNALED(ended.status) && WTERMSIG(ended.status) == SIGKILL) << "exit " << WEXITSTATUS(ended.status);
    acknowledged.insert(acknowledged.end(), ended.ids.begin(), ended.ids.end());
  }
  SqliteOptions options;
  options.folder = folder.path();
  const auto store = OpenSqliteStore(options);
  ASSERT_TRUE(store.ok()) << store.status();
  ASSERT_GT(acknowledged.size(), 100u);
  ASSERT_TRUE((*store)
                  ->Read([&](Snapshot& snapshot) {
                    for (const std::string& id : acknowledged) {
                      EXPECT_TRUE(snapshot.Get("t", "k", id).ok()) << "lost " << id;
                    }
                    // Record and event were one transaction: they are both there or neither.
                    std::vector<std::string> streams;  // also of threads that died before their first answer
                    for (int round = 0; round < kRounds; ++round) {
                      for (const char* thread : {"a", "b", "c", "d"}) {
                        streams.push_back(thread + std::to_string(round) + "-");
                      }
                    }
                    int64_t events = 0;
                    for (const std::string& stream : streams) {
                      const auto history = *snapshot.Events("t", stream, 0, 1'000'000);
                      for (size_t i = 0; i < history.size(); ++i) {
                        EXPECT_EQ(history[i].sequence, static_cast<int64_t>(i) + 1);
                        EXPECT_TRUE(snapshot.Get("t", "k", history[i].body).ok());
                      }
                      events += static_cast<int64_t>(history.size());
                    }
                    EXPECT_EQ(*snapshot.Count("t", "k", std::nullopt), events);
                    return absl::OkStatus();
                  })
                  .ok());
}

// One sync fails and all later ones would succeed: what the failed one lost cannot be known, so no write may be taken
// any more.
TEST(StoreKillTest, AFailedSyncIsNeverTriedAgain) {
  if (std::system("strace -f -o /dev/null -e trace=fsync true >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "strace is missing or may not trace";
  }
  for (const char* failing : {"3", "10", "31"}) {
    test::TempFolder folder;
    const std::string inject = std::string("inject=fsync,fdatasync:error=EIO:when=") + failing;
    const Ended ended = RunWriter({"strace", "-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", inject,
                                   STORE_WRITER, folder.path().string(), "0"},
                                  100'000);
    ASSERT_TRUE(WIFEXITED(ended.status));
    EXPECT_NE(WEXITSTATUS(ended.status), 5) << "a write was taken after a failed sync";
    SqliteOptions options;
    options.folder = folder.path();
    const auto store = OpenSqliteStore(options);
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_TRUE((*store)
                    ->Read([&](Snapshot& snapshot) {
                      for (const std::string& id : ended.ids) EXPECT_TRUE(snapshot.Get("t", "k", id).ok()) << id;
                      return absl::OkStatus();
                    })
                    .ok());
  }
}

}  // namespace
}  // namespace tenon::server
