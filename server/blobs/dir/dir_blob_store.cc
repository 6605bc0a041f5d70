#include "server/blobs/dir/dir_blob_store.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "common/digest.h"
#include "common/formats/status.h"
#include "server/blobs/dir/durable_file.h"

namespace tenon::server {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPiece = 1 << 20;
constexpr char kLinkSuffix[] = ".link";

// Where a blob's bytes are.
struct Place {
  fs::path file;
  int64_t size = 0;
};

absl::Status CheckDigest(const std::string& sha256) {
  if (IsDigest(sha256)) return absl::OkStatus();
  return TenonError(Reason::kFieldInvalid, "a blob is named by the 64 hex digits of its SHA-256", "sha256");
}

absl::Status NotThere(const std::string& sha256) {
  return TenonError(Reason::kNotFound, "there is no blob " + sha256, "sha256");
}

class DirBlobStore;

class DirBlobWriter final : public BlobWriter {
 public:
  DirBlobWriter(const DirBlobStore& store, DurableFile file, int64_t max_bytes)
      : store_(store), file_(std::move(file)), max_bytes_(max_bytes) {}
  absl::Status Append(const std::string& bytes) override;
  absl::StatusOr<std::string> Commit(const std::string& expected_sha256) override;

 private:
  const DirBlobStore& store_;
  DurableFile file_;
  const int64_t max_bytes_;
  int64_t size_ = 0;
  Sha256 hash_;
};

class DirBlobStore final : public BlobStore {
 public:
  explicit DirBlobStore(fs::path root) : root_(std::move(root)) {}

  // Empties tmp/: nothing there was ever acknowledged.
  absl::Status Prepare() {
    std::error_code error;
    fs::create_directories(root_.parent_path(), error);
    RETURN_IF_ERROR(MakeFolder(root_));
    fs::remove_all(root_ / "tmp", error);
    RETURN_IF_ERROR(MakeFolder(root_ / "tmp"));
    // All at once: no writer may find a folder that another one has made and not yet synced.
    constexpr char kHex[] = "0123456789abcdef";
    for (int i = 0; i < 256; ++i) {
      fs::create_directory(root_ / std::string{kHex[i / 16], kHex[i % 16]}, error);
      if (error) return SystemError("cannot make folders in " + root_.string(), error.value());
    }
    return SyncFolder(root_);
  }

  absl::StatusOr<std::unique_ptr<BlobWriter>> Create(int64_t max_bytes) override {
    ASSIGN_OR_RETURN(DurableFile file, DurableFile::Create(NewTemporary()));
    return std::make_unique<DirBlobWriter>(*this, std::move(file), max_bytes);
  }

  absl::Status Link(const fs::path& file, const std::string& sha256) override {
    RETURN_IF_ERROR(CheckDigest(sha256));
    std::error_code error;
    const fs::path absolute = fs::canonical(file, error);
    if (error || !fs::is_regular_file(absolute, error)) {
      return TenonError(Reason::kNotFound, "there is no file " + file.string(), file.filename().string());
    }
    ASSIGN_OR_RETURN(const std::string digest, Sha256File(absolute));
    if (digest != sha256) {
      return TenonError(Reason::kDigestMismatch, file.string() + " has SHA-256 " + digest + ", not " + sha256,
                        file.filename().string());
    }
    const int64_t size = static_cast<int64_t>(fs::file_size(absolute, error));
    if (error) return SystemError("cannot read " + absolute.string(), error.value());
    ASSIGN_OR_RETURN(DurableFile link, DurableFile::Create(NewTemporary()));
    RETURN_IF_ERROR(link.Append(std::to_string(size) + "\n" + absolute.string()));
    return link.Publish(PathOf(sha256).string() + kLinkSuffix);
  }

  absl::StatusOr<int64_t> Size(const std::string& sha256) override {
    ASSIGN_OR_RETURN(const Place place, Find(sha256));
    return place.size;
  }

  absl::Status Read(const std::string& sha256,
                    const std::function<absl::Status(const std::string& piece)>& sink) override {
    ASSIGN_OR_RETURN(const Place place, Find(sha256));
    std::ifstream in(place.file, std::ios::binary);
    std::string piece;
    for (int64_t left = place.size; left > 0; left -= static_cast<int64_t>(piece.size())) {
      piece.resize(std::min(kPiece, static_cast<size_t>(left)));
      if (!in.read(piece.data(), static_cast<std::streamsize>(piece.size()))) {
        return TenonError(Reason::kStorageFault, "cannot read blob " + sha256);
      }
      RETURN_IF_ERROR(sink(piece));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ReadAll(const std::string& sha256, int64_t max_bytes) override {
    ASSIGN_OR_RETURN(const int64_t size, Size(sha256));
    if (size > max_bytes) {
      return TenonError(Reason::kTooLarge, "blob " + sha256 + " has " + std::to_string(size) +
                                               " bytes, over the limit of " + std::to_string(max_bytes));
    }
    std::string bytes;
    bytes.reserve(static_cast<size_t>(size));
    RETURN_IF_ERROR(Read(sha256, [&](const std::string& piece) {
      bytes += piece;
      return absl::OkStatus();
    }));
    return bytes;
  }

  absl::Status Delete(const std::string& sha256) override {
    RETURN_IF_ERROR(CheckDigest(sha256));
    const fs::path path = PathOf(sha256);
    bool any = false;
    for (const std::string& name : {path.string(), path.string() + kLinkSuffix}) {
      if (unlink(name.c_str()) == 0) {
        any = true;
      } else if (errno != ENOENT) {
        return SystemError("cannot delete " + name, errno);
      }
    }
    return any ? absl::OkStatus() : NotThere(sha256);
  }

  absl::Status List(const std::function<void(const std::string& sha256, int64_t age_seconds)>& visit) override {
    std::error_code error;
    const auto now = fs::file_time_type::clock::now();
    for (fs::directory_iterator shard(root_, error), end; !error && shard != end; shard.increment(error)) {
      if (shard->path().filename() == "tmp") continue;
      for (fs::directory_iterator file(shard->path(), error); !error && file != end; file.increment(error)) {
        const std::string stem = file->path().stem().string();
        std::error_code gone;  // deleted meanwhile: not an error
        const auto time = fs::last_write_time(file->path(), gone);
        if (gone || !IsDigest(stem)) continue;
        visit(stem, std::chrono::duration_cast<std::chrono::seconds>(now - time).count());
      }
    }
    return error ? SystemError("cannot list blobs", error.value()) : absl::OkStatus();
  }

  fs::path PathOf(const std::string& sha256) const { return root_ / sha256.substr(0, 2) / sha256; }

 private:
  fs::path NewTemporary() { return root_ / "tmp" / std::to_string(++last_temporary_); }

  absl::StatusOr<Place> Find(const std::string& sha256) const {
    RETURN_IF_ERROR(CheckDigest(sha256));
    Place place{PathOf(sha256)};
    std::error_code error;
    const auto size = fs::file_size(place.file, error);
    if (!error) {
      place.size = static_cast<int64_t>(size);
      return place;
    }
    std::ifstream link(place.file.string() + kLinkSuffix, std::ios::binary);
    std::string size_line, target;
    if (!std::getline(link, size_line)) return NotThere(sha256);
    std::ostringstream rest;
    rest << link.rdbuf();
    target = rest.str();
    if (!absl::SimpleAtoi(size_line, &place.size))
      return TenonError(Reason::kStorageFault, "broken link of blob " + sha256);
    place.file = target;
    const auto now_size = fs::file_size(place.file, error);
    if (error || static_cast<int64_t>(now_size) != place.size) {
      return TenonError(Reason::kStorageFault, "the registered file " + target + " is missing or was changed",
                        "sha256");
    }
    return place;
  }

  const fs::path root_;
  std::atomic<int64_t> last_temporary_ = 0;
};

absl::Status DirBlobWriter::Append(const std::string& bytes) {
  size_ += static_cast<int64_t>(bytes.size());
  if (size_ > max_bytes_) {
    return TenonError(Reason::kTooLarge,
                      "the file is larger than the limit of " + std::to_string(max_bytes_) + " bytes");
  }
  hash_.Update(bytes.data(), bytes.size());
  return file_.Append(bytes);
}

absl::StatusOr<std::string> DirBlobWriter::Commit(const std::string& expected_sha256) {
  const std::string digest = hash_.Finish();
  if (!expected_sha256.empty() && digest != expected_sha256) {
    return TenonError(Reason::kDigestMismatch, "the bytes have SHA-256 " + digest + ", not " + expected_sha256,
                      "sha256");
  }
  const fs::path target = store_.PathOf(digest);
  // Also over an equal blob that is there: the rename is atomic, and its age starts anew for the sweep.
  RETURN_IF_ERROR(file_.Publish(target));
  return digest;
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlobStore>> OpenDirBlobStore(const fs::path& folder) {
  auto store = std::make_unique<DirBlobStore>(folder);
  RETURN_IF_ERROR(store->Prepare());
  return store;
}

}  // namespace tenon::server
