#include "common/formats/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace tenon::formats {
namespace {

// Closes what it holds; -1 is nothing.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

absl::Status WriteError(const std::filesystem::path& file, const char* step) {
  const int error = errno;
  const bool full = error == ENOSPC || error == EDQUOT;
  return TenonError(full ? Reason::kDiskFull : Reason::kStorageFault,
                    absl::StrCat(file.string(), ": ", step, ": ", std::strerror(error)));
}

absl::Status WriteAll(int fd, const Chunk& chunk, const std::filesystem::path& file) {
  const char* p = static_cast<const char*>(chunk.data);
  size_t left = chunk.size;
  while (left > 0) {
    const ssize_t n = write(fd, p, left);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return WriteError(file, "write");
    p += n;
    left -= static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status WriteAndSync(const std::filesystem::path& file, const std::vector<Chunk>& chunks) {
  const Descriptor fd(open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd.ok()) return WriteError(file, "create");
  for (const Chunk& chunk : chunks) RETURN_IF_ERROR(WriteAll(fd.get(), chunk, file));
  if (fsync(fd.get()) != 0) return WriteError(file, "fsync");
  return absl::OkStatus();
}

absl::Status SyncFolder(const std::filesystem::path& folder) {
  const Descriptor fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.ok()) return WriteError(folder, "open");
  if (fsync(fd.get()) != 0) return WriteError(folder, "fsync");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& file, int64_t max_bytes, Reason reason) {
  const std::string name = file.filename().string();
  const auto error = [&](const std::string& what) { return TenonError(reason, absl::StrCat(name, ": ", what), name); };
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  const Descriptor fd(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.ok()) return error(std::strerror(errno));
  struct stat info = {};
  if (fstat(fd.get(), &info) != 0) return error(std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return error("is not a file");
  if (info.st_size > max_bytes) {
    return error(absl::StrCat("has ", info.st_size, " bytes; at most ", max_bytes, " are allowed"));
  }
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = read(fd.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error(std::strerror(errno));
    if (n == 0) return error("became shorter while it was read");
    done += static_cast<size_t>(n);
  }
  return bytes;
}

absl::Status WriteFileDurably(const std::filesystem::path& file, const std::vector<Chunk>& chunks) {
  static std::atomic<uint64_t> counter{0};
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  const std::filesystem::path temporary =
      folder / absl::StrCat(".", file.filename().string(), ".", getpid(), ".", counter.fetch_add(1), ".tmp");
  absl::Status status = WriteAndSync(temporary, chunks);
  if (status.ok() && rename(temporary.c_str(), file.c_str()) != 0) status = WriteError(file, "rename");
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  return SyncFolder(folder);
}

}  // namespace tenon::formats
