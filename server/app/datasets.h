// Data sets: streamed in, read whole, stored once they are known to be good.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "common/formats/dataset.h"
#include "server/app/call_scope.h"
#include "server/blobs/blob_store.h"
#include "server/store/store.h"
#include "tenon/v1/dataset_service.pb.h"

namespace tenon::server {

// The next message of an upload; false at its end, or when the client is gone.
template <typename Message>
using MessageSource = std::function<bool(Message*)>;

// Thread-safe. Calls block on the store and disk.
class Datasets {
 public:
  struct Options {
    int64_t max_bytes = 256 << 20;     // of one data set: TOO_LARGE beyond
    int64_t max_buffered = 512 << 20;  // of all uploads in memory at a time: QUEUE_FULL beyond
  };
  struct Parts {
    Store* store;
    BlobStore* blobs;
    const Clock* clock;
  };
  Datasets(const Parts& parts, const Options& options) : parts_(parts), options_(options) {}

  // DATASET_INVALID names row and column; nothing is stored. The same bytes under the same id again are the same data
  // set; other bytes are ALREADY_EXISTS. A stream that breaks off stores nothing.
  absl::StatusOr<v1::UploadDatasetResponse> Upload(const CallScope& scope,
                                                   const MessageSource<v1::UploadDatasetRequest>& read);
  absl::StatusOr<v1::Dataset> Get(const std::string& tenant, const std::string& name);
  absl::StatusOr<v1::ListDatasetsResponse> List(const std::string& tenant, const v1::ListDatasetsRequest& request);
  // IN_USE while a job that is not final names it.
  absl::Status Delete(const std::string& tenant, const std::string& name);

 private:
  // Bytes of uploads that are in memory.
  class Reservation;

  absl::StatusOr<v1::Dataset> Insert(const std::string& tenant, const v1::UploadDatasetRequest::Header& header,
                                     const v1::Dataset& dataset);

  const Parts parts_;
  const Options options_;
  absl::Mutex mutex_;
  int64_t buffered_ ABSL_GUARDED_BY(mutex_) = 0;
};

// The format as the reader of rows names it; FIELD_REQUIRED for UNSPECIFIED.
absl::StatusOr<formats::DatasetFormat> ToFormat(v1::DatasetFormat format, const std::string& field);

// Writes a blob that is in memory.
absl::Status WriteBlob(BlobStore& blobs, const std::string& bytes, const std::string& sha256);

}  // namespace tenon::server
