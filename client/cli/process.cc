#include "client/cli/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"

extern char** environ;

namespace tenon::cli {
namespace {

// posix_spawn's settings, freed with the scope.
struct SpawnSettings {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  SpawnSettings() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
};

std::string OwnPath() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).string();
}

}  // namespace

absl::StatusOr<Process> Process::Start(const ProcessSpec& spec) {
  SpawnSettings settings;
  posix_spawn_file_actions_addopen(&settings.files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&settings.files, STDOUT_FILENO, spec.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                   0640);
  posix_spawn_file_actions_adddup2(&settings.files, STDOUT_FILENO, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&settings.files, 3);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&settings.attributes, &none);
  posix_spawnattr_setsigdefault(&settings.attributes, &all);
  posix_spawnattr_setpgroup(&settings.attributes, 0);
  posix_spawnattr_setflags(&settings.attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);

  const std::string self = OwnPath();
  std::vector<std::string> words = {self, kBecomeChild, absl::StrCat(getpid()), spec.program};
  words.insert(words.end(), spec.args.begin(), spec.args.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, self.c_str(), &settings.files, &settings.attributes, argv.data(), environ);
  if (error != 0) return absl::InternalError(absl::StrCat("Cannot start ", spec.name, ": ", std::strerror(error), "."));
  return Process(pid);
}

Process::Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, -1)), ended_(std::move(other.ended_)) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this == &other) return *this;
  Stop(absl::Seconds(5));
  pid_ = std::exchange(other.pid_, -1);
  ended_ = std::move(other.ended_);
  return *this;
}

Process::~Process() { Stop(absl::Seconds(5)); }

std::optional<std::string> Process::Ended() {
  if (ended_ || pid_ < 0) return ended_;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  ended_ =
      WIFSIGNALED(status) ? absl::StrCat("signal ", WTERMSIG(status)) : absl::StrCat("exit code ", WEXITSTATUS(status));
  return ended_;
}

bool Process::Stop(absl::Duration grace) {
  if (pid_ < 0 || Ended()) return true;
  kill(pid_, SIGTERM);
  const absl::Time deadline = absl::Now() + grace;
  while (!Ended() && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(10));
  if (ended_) return true;
  kill(pid_, SIGKILL);
  int status = 0;
  waitpid(pid_, &status, 0);
  ended_ = absl::StrCat("signal ", SIGKILL);
  return false;
}

int BecomeChild(int argc, char** argv) {
  if (argc < 4) return 2;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  // The parent may have died before the line above: then nobody would ever stop this process.
  if (getppid() != static_cast<pid_t>(std::strtol(argv[2], nullptr, 10))) return 1;
  execv(argv[3], argv + 3);
  std::fprintf(stderr, "tenon: cannot run %s: %s\n", argv[3], std::strerror(errno));
  return 127;
}

absl::StatusOr<std::string> ProgramBeside(const std::string& name) {
  const std::string path = (std::filesystem::path(OwnPath()).parent_path() / name).string();
  if (access(path.c_str(), X_OK) == 0) return path;
  return absl::NotFoundError(absl::StrCat("There is no ", path, ": `tenon up` needs it beside tenon."));
}

std::string Tail(const std::string& file, int lines) {
  std::ifstream in(file);
  std::deque<std::string> kept;
  for (std::string line; std::getline(in, line);) {
    kept.push_back("  " + line);
    if (kept.size() > static_cast<size_t>(lines)) kept.pop_front();
  }
  return absl::StrJoin(kept, "\n");
}

}  // namespace tenon::cli
