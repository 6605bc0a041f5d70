#include "server/app/catalog_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/ids.h"

namespace tenon::server {
namespace {

constexpr size_t kMaxName = 128;

// For clients: without the path, which is none of their business.
absl::Status DiskError(int error) {
  if (error == ENOSPC || error == EDQUOT) {
    return TenonError(Reason::kDiskFull, "the server's disk is full; nothing was stored");
  }
  return TenonError(Reason::kStorageFault, absl::StrCat("the server cannot write the upload: ", std::strerror(error)));
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

}  // namespace

absl::Status CheckFileName(const std::string& name, const std::string& field) {
  const bool good = !name.empty() && name.size() <= kMaxName && name[0] != '.' &&
                    std::all_of(name.begin(), name.end(), IsNameCharacter);
  if (good) return absl::OkStatus();
  return TenonError(Reason::kFieldInvalid,
                    absl::StrCat(field, " must be 1 to ", kMaxName, " of [A-Za-z0-9._-] and not start with a dot"),
                    field);
}

absl::StatusOr<std::unique_ptr<StagedFolder>> StagedFolder::Create(const std::filesystem::path& root) {
  std::error_code error;
  const std::filesystem::path path = root / RandomId(16);
  std::filesystem::create_directories(path, error);
  if (error) return DiskError(error.value());
  return std::unique_ptr<StagedFolder>(new StagedFolder(path));
}

StagedFolder::~StagedFolder() {
  if (descriptor_ >= 0) close(descriptor_);
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

absl::Status StagedFolder::Start(const std::string& name) {
  RETURN_IF_ERROR(Finish());
  descriptor_ = open((path_ / name).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (descriptor_ < 0) {
    if (errno == EEXIST) {
      return TenonError(Reason::kFieldInvalid, absl::StrCat("file '", name, "' occurs twice"), "path");
    }
    return DiskError(errno);
  }
  digest_ = std::make_unique<Sha256>();
  current_.Clear();
  current_.set_path(name);
  return absl::OkStatus();
}

absl::Status StagedFolder::Append(const char* data, size_t size) {
  digest_->Update(data, size);
  current_.set_size_bytes(current_.size_bytes() + static_cast<int64_t>(size));
  while (size > 0) {
    const ssize_t written = write(descriptor_, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return DiskError(errno);
    data += written;
    size -= static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

absl::Status StagedFolder::Finish() {
  if (descriptor_ < 0) return absl::OkStatus();
  const int failed = close(std::exchange(descriptor_, -1));
  if (failed != 0) return DiskError(errno);
  current_.set_sha256(digest_->Finish());
  files_.push_back(current_);
  return absl::OkStatus();
}

absl::Status PublishFile(BlobStore& blobs, const std::filesystem::path& folder, const v1::FileEntry& file) {
  // Blobs are whole or not there: what is there needs no copy.
  if (blobs.Size(file.sha256()).ok()) return absl::OkStatus();
  std::ifstream in(folder / file.path(), std::ios::binary);
  ASSIGN_OR_RETURN(const auto writer, blobs.Create(file.size_bytes()));
  std::string piece(1 << 20, '\0');
  while (in) {
    in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    const auto count = static_cast<size_t>(in.gcount());
    if (count > 0) RETURN_IF_ERROR(writer->Append(piece.substr(0, count)));
  }
  if (!in.eof()) {
    return TenonError(Reason::kStorageFault,
                      absl::StrCat("file '", file.path(), "' of the upload cannot be read back"));
  }
  return writer->Commit(file.sha256()).status();
}

std::string DigestOf(const std::vector<v1::FileEntry>& files) {
  std::vector<std::string> digests;
  for (const v1::FileEntry& file : files) digests.push_back(file.sha256());
  return ManifestDigest(std::move(digests));
}

}  // namespace tenon::server
