// Files from the server on this machine's disk: <root>/blobs/{sha256}, and folders of hard links to them under their
// own names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "tenon/v1/catalog_service.pb.h"

namespace tenon::link {

// Thread-safe; calls block while they fetch. Two calls for one blob fetch it once.
//
// Bases stay. Adapters are bounded by bytes: the least recently used folders are removed, and with them the blobs that
// no other folder links. What was fetched was checked and synced; what an earlier process left is checked against its
// digest when it is first used, and fetched again where a bit has turned.
class BlobCache {
 public:
  // Brings a blob to a file, checked and synced.
  using Fetch = std::function<absl::Status(const v1::FileEntry& entry, const std::filesystem::path& file)>;
  using Files = google::protobuf::RepeatedPtrField<v1::FileEntry>;

  // Takes over what an earlier process left in `root`.
  static absl::StatusOr<std::unique_ptr<BlobCache>> Open(const std::filesystem::path& root, int64_t max_adapter_bytes,
                                                         Fetch fetch);

  absl::StatusOr<std::filesystem::path> BaseFolder(const std::string& digest, const Files& files);
  absl::StatusOr<std::filesystem::path> AdapterFolder(const std::string& digest, const Files& files);
  // A folder of the caller's own with these files; remove it after use.
  absl::Status FillFolder(const std::filesystem::path& folder, const Files& files);
  // The bytes of one blob; it is not kept.
  absl::StatusOr<std::string> Read(const std::string& sha256);

  int64_t adapter_bytes() const;

 private:
  struct Adapter {
    std::string digest;
    int64_t bytes = 0;
  };
  // Keeps blobs from being swept between their fetch and their link.
  class Pins;
  // Keeps an adapter's folder from being trimmed until its new turn in the order of use is noted.
  class Handing;
  // One call at a time for a blob or folder.
  class Turn;
  BlobCache(std::filesystem::path root, int64_t max_adapter_bytes, Fetch fetch);
  absl::Status TakeOver();
  absl::StatusOr<std::filesystem::path> Blob(const v1::FileEntry& entry);
  bool IsIntact(const std::filesystem::path& blob, const v1::FileEntry& entry);
  absl::StatusOr<std::filesystem::path> Folder(const std::string& kind, const std::string& digest, const Files& files);
  // Whether every file of a folder is a checked blob. An error when one had to be fetched again and cannot.
  absl::StatusOr<bool> IsTrusted(const std::filesystem::path& folder, const Files& files);
  absl::Status Link(const std::filesystem::path& folder, const Files& files);
  void Use(const std::string& digest, int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Trim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Sweep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::filesystem::path root_;
  const int64_t max_adapter_bytes_;
  const Fetch fetch_;

  mutable absl::Mutex mutex_;
  std::set<std::string> busy_ ABSL_GUARDED_BY(mutex_);             // names of blobs and folders, see Turn
  std::set<std::string> checked_blobs_ ABSL_GUARDED_BY(mutex_);    // by this process
  std::set<std::string> checked_folders_ ABSL_GUARDED_BY(mutex_);  // likewise, paths
  std::multiset<std::string> pinned_ ABSL_GUARDED_BY(mutex_);
  std::multiset<std::string> handing_ ABSL_GUARDED_BY(mutex_);  // adapters, see Handing
  std::list<Adapter> adapters_ ABSL_GUARDED_BY(mutex_);         // most recently used first
  std::unordered_map<std::string, std::list<Adapter>::iterator> by_digest_ ABSL_GUARDED_BY(mutex_);
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t next_temporary_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace tenon::link
