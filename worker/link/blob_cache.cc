#include "worker/link/blob_cache.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/formats/status.h"

namespace tenon::link {
namespace fs = std::filesystem;
namespace {

// Folders this young are never removed: somebody may just be reading them.
constexpr size_t kKeptFolders = 8;

absl::Status IoError(const std::string& what, const std::error_code& error) {
  const Reason reason = error == std::errc::no_space_on_device ? Reason::kDiskFull : Reason::kInternal;
  return TenonError(reason, absl::StrCat("the worker's cache: cannot ", what, ": ", error.message()));
}

// A plain name of one file: it is joined to a folder's path.
absl::Status CheckEntry(const v1::FileEntry& entry) {
  const std::string& name = entry.path();
  const bool plain = !name.empty() && name.size() <= 255 && name[0] != '.' &&
                     std::all_of(name.begin(), name.end(),
                                 [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '_' || c == '-'; });
  if (plain && IsDigest(entry.sha256())) return absl::OkStatus();
  return TenonError(Reason::kInternal, "the server named a file that is not a plain name with a digest");
}

int64_t FolderBytes(const fs::path& folder) {
  std::error_code error;
  int64_t bytes = 0;
  for (fs::directory_iterator file(folder, error), end; !error && file != end; file.increment(error)) {
    bytes += static_cast<int64_t>(file->file_size(error));
  }
  return bytes;
}

bool IsComplete(const fs::path& folder, const BlobCache::Files& files) {
  return std::all_of(files.begin(), files.end(), [&](const v1::FileEntry& entry) {
    std::error_code error;
    const auto size = fs::file_size(folder / entry.path(), error);
    return !error && (entry.size_bytes() == 0 || static_cast<int64_t>(size) == entry.size_bytes());
  });
}

}  // namespace

class BlobCache::Pins {
 public:
  Pins(BlobCache* cache, const Files& files) : cache_(cache), files_(files) {
    absl::MutexLock lock(&cache_->mutex_);
    for (const v1::FileEntry& entry : files_) cache_->pinned_.insert(entry.sha256());
  }
  ~Pins() {
    absl::MutexLock lock(&cache_->mutex_);
    for (const v1::FileEntry& entry : files_) cache_->pinned_.erase(cache_->pinned_.find(entry.sha256()));
  }

 private:
  BlobCache* const cache_;
  const Files& files_;
};

class BlobCache::Handing {
 public:
  Handing(BlobCache* cache, const std::string& digest) : cache_(cache), digest_(digest) {
    absl::MutexLock lock(&cache_->mutex_);
    cache_->handing_.insert(digest_);
  }
  ~Handing() {
    absl::MutexLock lock(&cache_->mutex_);
    cache_->handing_.erase(cache_->handing_.find(digest_));
  }

 private:
  BlobCache* const cache_;
  const std::string digest_;
};

class BlobCache::Turn {
 public:
  Turn(BlobCache* cache, std::string name) : cache_(cache), name_(std::move(name)) {
    absl::MutexLock lock(&cache_->mutex_);
    const auto free = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(cache_->mutex_) { return !cache_->busy_.contains(name_); };
    cache_->mutex_.Await(absl::Condition(&free));
    cache_->busy_.insert(name_);
  }
  ~Turn() {
    absl::MutexLock lock(&cache_->mutex_);
    cache_->busy_.erase(name_);
  }

 private:
  BlobCache* const cache_;
  const std::string name_;
};

BlobCache::BlobCache(fs::path root, int64_t max_adapter_bytes, Fetch fetch)
    : root_(std::move(root)), max_adapter_bytes_(max_adapter_bytes), fetch_(std::move(fetch)) {}

absl::StatusOr<std::unique_ptr<BlobCache>> BlobCache::Open(const fs::path& root, int64_t max_adapter_bytes,
                                                           Fetch fetch) {
  std::unique_ptr<BlobCache> cache(new BlobCache(root, max_adapter_bytes, std::move(fetch)));
  RETURN_IF_ERROR(cache->TakeOver());
  return cache;
}

absl::Status BlobCache::TakeOver() {
  std::error_code error;
  fs::remove_all(root_ / "tmp", error);
  for (const char* folder : {"blobs", "bases", "adapters", "tmp"}) {
    fs::create_directories(root_ / folder, error);
    if (error) return IoError(absl::StrCat("create ", (root_ / folder).string()), error);
  }
  std::vector<std::pair<fs::file_time_type, std::string>> found;
  for (fs::directory_iterator entry(root_ / "adapters", error), end; !error && entry != end; entry.increment(error)) {
    found.emplace_back(entry->last_write_time(error), entry->path().filename().string());
  }
  std::sort(found.begin(), found.end());
  absl::MutexLock lock(&mutex_);
  for (const auto& [time, digest] : found) Use(digest, FolderBytes(root_ / "adapters" / digest));
  Trim();
  Sweep();
  return absl::OkStatus();
}

bool BlobCache::IsIntact(const fs::path& blob, const v1::FileEntry& entry) {
  std::error_code error;
  const auto size = fs::file_size(blob, error);
  if (error || (entry.size_bytes() != 0 && static_cast<int64_t>(size) != entry.size_bytes())) return false;
  {
    absl::MutexLock lock(&mutex_);
    if (checked_blobs_.contains(entry.sha256())) return true;
  }
  const absl::StatusOr<std::string> sha256 = Sha256File(blob);
  if (sha256.ok() && *sha256 == entry.sha256()) return true;
  spdlog::warn("the cache's copy of {} is broken; it is fetched again", entry.path());
  fs::remove(blob, error);
  return false;
}

absl::StatusOr<fs::path> BlobCache::Blob(const v1::FileEntry& entry) {
  const fs::path blob = root_ / "blobs" / entry.sha256();
  const Turn turn(this, entry.sha256());
  if (!IsIntact(blob, entry)) {
    fs::path temporary;
    {
      absl::MutexLock lock(&mutex_);
      checked_blobs_.erase(entry.sha256());
      temporary = root_ / "tmp" / absl::StrCat("blob-", next_temporary_++);
    }
    RETURN_IF_ERROR(fetch_(entry, temporary));
    std::error_code error;
    fs::rename(temporary, blob, error);
    if (error) return IoError("name a blob", error);
  }
  absl::MutexLock lock(&mutex_);
  checked_blobs_.insert(entry.sha256());
  return blob;
}

absl::Status BlobCache::Link(const fs::path& folder, const Files& files) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return IoError("create a folder", error);
  for (const v1::FileEntry& entry : files) {
    RETURN_IF_ERROR(CheckEntry(entry));
    ASSIGN_OR_RETURN(const fs::path blob, Blob(entry));
    fs::create_hard_link(blob, folder / entry.path(), error);
    if (error) return IoError("link a file", error);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> BlobCache::IsTrusted(const fs::path& folder, const Files& files) {
  if (!IsComplete(folder, files)) return false;
  {
    absl::MutexLock lock(&mutex_);
    if (checked_folders_.contains(folder.string())) return true;
  }
  for (const v1::FileEntry& entry : files) {
    RETURN_IF_ERROR(CheckEntry(entry));
    ASSIGN_OR_RETURN(const fs::path blob, Blob(entry));
    std::error_code error;
    if (!fs::equivalent(blob, folder / entry.path(), error)) return false;
  }
  return true;
}

absl::StatusOr<fs::path> BlobCache::Folder(const std::string& kind, const std::string& digest, const Files& files) {
  if (!IsDigest(digest)) return TenonError(Reason::kInternal, "the server named a folder without a digest");
  const fs::path folder = root_ / kind / digest;
  const Turn turn(this, folder.string());
  const Pins pins(this, files);
  std::error_code error;
  bool trusted = false;
  if (fs::exists(folder, error)) {
    ASSIGN_OR_RETURN(trusted, IsTrusted(folder, files));
    if (!trusted) fs::remove_all(folder, error);
  }
  if (!trusted) {
    fs::path temporary;
    {
      absl::MutexLock lock(&mutex_);
      temporary = root_ / "tmp" / absl::StrCat("folder-", next_temporary_++);
    }
    absl::Status status = Link(temporary, files);
    if (status.ok()) {
      fs::rename(temporary, folder, error);
      if (error) status = IoError("name a folder", error);
    }
    fs::remove_all(temporary, error);
    RETURN_IF_ERROR(status);
  }
  absl::MutexLock lock(&mutex_);
  checked_folders_.insert(folder.string());
  return folder;
}

absl::StatusOr<fs::path> BlobCache::BaseFolder(const std::string& digest, const Files& files) {
  return Folder("bases", digest, files);
}

absl::StatusOr<fs::path> BlobCache::AdapterFolder(const std::string& digest, const Files& files) {
  const Handing handing(this, digest);
  ASSIGN_OR_RETURN(const fs::path folder, Folder("adapters", digest, files));
  std::error_code ignored;
  fs::last_write_time(folder, fs::file_time_type::clock::now(), ignored);  // the order survives a restart
  const int64_t bytes = FolderBytes(folder);
  absl::MutexLock lock(&mutex_);
  Use(digest, bytes);
  if (bytes_ > max_adapter_bytes_) {
    Trim();
    Sweep();
  }
  return folder;
}

absl::Status BlobCache::FillFolder(const fs::path& folder, const Files& files) {
  const Pins pins(this, files);
  return Link(folder, files);
}

absl::StatusOr<std::string> BlobCache::Read(const std::string& sha256) {
  Files files;
  v1::FileEntry& entry = *files.Add();
  entry.set_path("data");
  entry.set_sha256(sha256);
  RETURN_IF_ERROR(CheckEntry(entry));
  std::string bytes;
  {
    const Pins pins(this, files);
    ASSIGN_OR_RETURN(const fs::path blob, Blob(entry));
    std::ifstream in(blob, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
    if (!in.is_open() || in.bad()) return TenonError(Reason::kInternal, "cannot read a blob from the worker's cache");
  }
  absl::MutexLock lock(&mutex_);
  Sweep();
  return bytes;
}

int64_t BlobCache::adapter_bytes() const {
  absl::MutexLock lock(&mutex_);
  return bytes_;
}

void BlobCache::Use(const std::string& digest, int64_t bytes) {
  if (const auto found = by_digest_.find(digest); found != by_digest_.end()) {
    bytes_ -= found->second->bytes;
    adapters_.erase(found->second);
  }
  adapters_.push_front({digest, bytes});
  by_digest_[digest] = adapters_.begin();
  bytes_ += bytes;
}

void BlobCache::Trim() {
  // A tenth below the bound, so that the sweep behind is rare.
  const int64_t enough = max_adapter_bytes_ - max_adapter_bytes_ / 10;
  auto place = adapters_.end();
  for (size_t i = adapters_.size(); i > kKeptFolders && bytes_ > enough; --i) {
    --place;
    if (handing_.contains(place->digest)) continue;
    std::error_code ignored;
    const fs::path folder = root_ / "adapters" / place->digest;
    fs::remove_all(folder, ignored);
    checked_folders_.erase(folder.string());
    bytes_ -= place->bytes;
    by_digest_.erase(place->digest);
    place = adapters_.erase(place);
  }
}

void BlobCache::Sweep() {
  std::error_code error;
  for (fs::directory_iterator blob(root_ / "blobs", error), end; !error && blob != end; blob.increment(error)) {
    std::error_code ignored;
    if (blob->hard_link_count(ignored) > 1 || pinned_.contains(blob->path().filename().string())) continue;
    fs::remove(blob->path(), ignored);
    checked_blobs_.erase(blob->path().filename().string());
  }
}

}  // namespace tenon::link
