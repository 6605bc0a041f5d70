// A process killed in the midst of writes loses nothing that it acknowledged. (That the disk keeps it, too, is what
// synchronous=FULL is for; a kill alone cannot show it.)
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <string>
#include <vector>

#include "common/formats/status.h"
#include "server/store/sqlite/sqlite_store.h"
#include "tests/server/temp_folder.h"

extern char** environ;

namespace tenon::server {
namespace {

constexpr int kRounds = 12;

// Runs the writer until it has acknowledged `lines` writes, kills it, and returns the ids that it acknowledged.
std::vector<std::string> RunAndKill(const std::filesystem::path& folder, int round, int lines) {
  int pipe_ends[2];
  EXPECT_EQ(pipe(pipe_ends), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, pipe_ends[0]);
  std::string program = STORE_WRITER, path = folder.string(), name = std::to_string(round);
  char* arguments[] = {program.data(), path.data(), name.data(), nullptr};
  pid_t pid = 0;
  EXPECT_EQ(posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments, environ), 0);
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
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "exit " << WEXITSTATUS(status);

  std::vector<std::string> ids;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    ids.push_back(text.substr(begin, end - begin));
  }
  return ids;
}

TEST(StoreKillTest, AcknowledgedWritesSurviveSigkill) {
  TempFolder folder;
  std::mt19937 random(20240607);
  std::vector<std::string> acknowledged;
  for (int round = 0; round < kRounds; ++round) {
    const auto ids = RunAndKill(folder.path(), round, 1 + static_cast<int>(random() % 150));
    acknowledged.insert(acknowledged.end(), ids.begin(), ids.end());
    ASSERT_FALSE(HasFailure());
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

}  // namespace
}  // namespace tenon::server
