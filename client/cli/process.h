// Child processes of `tenon up`: started without fork, in a process group of their own, never outliving their parent.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tenon::cli {

struct ProcessSpec {
  std::string name;               // in messages
  std::string program;            // path
  std::vector<std::string> args;  // without the program
  std::string log_file;           // standard output and error are appended here
};

// Not thread-safe. Stops the child when it is destroyed.
class Process {
 public:
  // posix_spawn, which is safe after gRPC started threads. The child gets SIGTERM when this process dies, however it
  // dies. A terminal's Ctrl-C does not reach it: its parent decides the order of stopping.
  static absl::StatusOr<Process> Start(const ProcessSpec& spec);
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  pid_t pid() const { return pid_; }
  // `exit code 1`, `signal 9` once it ended.
  std::optional<std::string> Ended();
  // SIGTERM, then SIGKILL after `grace`. True when it went by itself in time.
  bool Stop(absl::Duration grace);

 private:
  explicit Process(pid_t pid) : pid_(pid) {}

  pid_t pid_ = -1;  // -1: none
  std::optional<std::string> ended_;
};

// The first word of the child's command line: `tenon` starts itself as this, ties its life to its parent and becomes
// the program.
inline constexpr char kBecomeChild[] = "--become-child";
// argv of such a start; does not return unless the program cannot be run.
int BecomeChild(int argc, char** argv);

// Path of a program beside this one; NOT_FOUND when it is not there.
absl::StatusOr<std::string> ProgramBeside(const std::string& name);
// The last lines of a file.
std::string Tail(const std::string& file, int lines);

}  // namespace tenon::cli
