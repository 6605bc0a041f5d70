#include "client/cli/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::cli {

absl::Status LockFile::Take(const std::string& path, const std::string& message, const std::string& field) {
  while (true) {
    const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (descriptor < 0)
      return absl::InvalidArgumentError(absl::StrCat("Cannot write ", path, ": ", std::strerror(errno), "."));
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
      const int error = errno;
      close(descriptor);
      if (error == EINTR) continue;
      return TenonError(Reason::kInUse, message, field);
    }
    // Its last owner may have removed it between open and flock; then the lock is of a file that nobody else will find.
    struct stat held, there;
    if (fstat(descriptor, &held) == 0 && stat(path.c_str(), &there) == 0 && held.st_dev == there.st_dev &&
        held.st_ino == there.st_ino) {
      path_ = path;
      descriptor_ = descriptor;
      return absl::OkStatus();
    }
    close(descriptor);
  }
}

void LockFile::Release() {
  if (descriptor_ < 0) return;
  unlink(path_.c_str());  // while it is locked: whoever waits for it then sees that it is another's
  close(std::exchange(descriptor_, -1));
}

}  // namespace tenon::cli
