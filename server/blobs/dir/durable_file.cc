#include "server/blobs/dir/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/formats/status.h"

namespace tenon::server {
absl::Status SyncFolder(const std::filesystem::path& folder) {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return SystemError("cannot open " + folder.string(), errno);
  const int code = fsync(descriptor) == 0 ? 0 : errno;
  close(descriptor);
  return code == 0 ? absl::OkStatus() : SystemError("cannot sync " + folder.string(), code);
}

absl::Status SystemError(const std::string& what, int code) {
  if (code == ENOSPC || code == EDQUOT) {
    return TenonError(Reason::kDiskFull, "the server's disk is full; nothing was stored");
  }
  return TenonError(Reason::kStorageFault, what + ": " + std::strerror(code));
}

absl::StatusOr<DurableFile> DurableFile::Create(const std::filesystem::path& temporary) {
  const int descriptor = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) return SystemError("cannot create " + temporary.string(), errno);
  return DurableFile(temporary, descriptor);
}

DurableFile::DurableFile(DurableFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

DurableFile::~DurableFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(path_.c_str());
}

absl::Status DurableFile::Append(const std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t written = write(descriptor_, bytes.data() + done, bytes.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SystemError("cannot write " + path_.string(), errno);
    done += static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

absl::Status DurableFile::Publish(const std::filesystem::path& target) {
  if (fsync(descriptor_) != 0) return SystemError("cannot sync " + path_.string(), errno);
  if (rename(path_.c_str(), target.c_str()) != 0) return SystemError("cannot rename to " + target.string(), errno);
  close(std::exchange(descriptor_, -1));
  return SyncFolder(target.parent_path());
}

absl::Status MakeFolder(const std::filesystem::path& folder) {
  if (mkdir(folder.c_str(), 0700) != 0) {
    if (errno == EEXIST) return absl::OkStatus();
    return SystemError("cannot make " + folder.string(), errno);
  }
  return SyncFolder(folder.parent_path());
}

}  // namespace tenon::server
