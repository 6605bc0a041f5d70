#include "server/store/sqlite/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "common/formats/status.h"

namespace tenon::server {

absl::StatusOr<FolderLock> FolderLock::Take(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return TenonError(Reason::kStorageFault, "cannot make the data folder " + folder.string() + ": " + error.message());
  }
  const std::filesystem::path file = folder / "tenon.lock";
  const int descriptor = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) {
    return TenonError(Reason::kStorageFault, "cannot open " + file.string() + ": " + std::strerror(errno));
  }
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    const int code = errno;
    char text[32] = {};
    const ssize_t size = pread(descriptor, text, sizeof(text) - 1, 0);
    close(descriptor);
    if (code != EWOULDBLOCK) {
      return TenonError(Reason::kStorageFault, "cannot lock " + file.string() + ": " + std::strerror(code));
    }
    std::string holder = size > 0 ? " (process " + std::string(text, static_cast<size_t>(size)) + ")" : "";
    return TenonError(Reason::kInUse,
                      "the data folder " + folder.string() + " is used by another tenon-server" + holder +
                          "; stop it or choose another folder with --data",
                      "data");
  }
  // Only for the message above; the lock itself is what counts.
  const std::string pid = std::to_string(getpid());
  if (ftruncate(descriptor, 0) == 0) [[maybe_unused]]
    const ssize_t written = pwrite(descriptor, pid.data(), pid.size(), 0);
  return FolderLock(descriptor);
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) close(descriptor_);
}

}  // namespace tenon::server
