// Where the runtime's adapters come from: the server names their files with each request, the cache brings them to
// disk.
#pragma once

#include <list>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "tenon/internal/v1/worker_link_service.pb.h"
#include "worker/link/blob_cache.h"
#include "worker/runtime/runtime.h"

namespace tenon::link {

// Thread-safe. Remembers the files of the adapters named last; more than requests can be outstanding.
class AdapterFiles final : public runtime::AdapterSource {
 public:
  explicit AdapterFiles(BlobCache* cache, size_t remembered = 16'384) : cache_(cache), remembered_(remembered) {}

  void Remember(const internal::v1::AdapterRef& adapter);
  absl::StatusOr<std::filesystem::path> Fetch(const std::string& digest) override;

 private:
  BlobCache* const cache_;
  const size_t remembered_;
  absl::Mutex mutex_;
  std::list<internal::v1::AdapterRef> recent_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, std::list<internal::v1::AdapterRef>::iterator> by_digest_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tenon::link
