// Adapters: imported and exported as PEFT folders, listed, deleted.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "server/app/call_scope.h"
#include "server/app/catalog_files.h"
#include "server/app/datasets.h"
#include "server/blobs/blob_store.h"
#include "server/catalog/catalog.h"
#include "server/dispatch/inference.h"
#include "server/store/store.h"

namespace tenon::server {

// Thread-safe. Calls block on the store, disk, and (Import) a worker.
class Adapters {
 public:
  struct Options {
    std::filesystem::path staging;
    absl::Duration check_timeout = absl::Minutes(2);  // of a worker's check, at most
  };
  struct Parts {
    Store* store;
    BlobStore* blobs;
    ModelIndex* models;
    InferenceRouter* router;
    const Clock* clock;
  };
  Adapters(const Parts& parts, const Options& options) : parts_(parts), options_(options) {}

  // Files are checked here, then loaded onto the base by a worker (NO_WORKER when there is none), then published as a
  // revision. The same files again make no new revision. Nothing is published on an error: ADAPTER_INVALID,
  // SAFETENSORS_INVALID, UNSUPPORTED, BASE_MISMATCH, TOO_LARGE.
  absl::StatusOr<v1::Adapter> Import(const CallScope& scope, const MessageSource<v1::ImportAdapterRequest>& read);
  // Gives the revision's files to `write`, piece by piece, until it returns false; or those of its base with the
  // adapter merged into it: see ExportMerged.
  absl::Status Export(const CallScope& scope, const v1::ExportAdapterRequest& request,
                      const std::function<bool(const v1::ExportAdapterResponse&)>& write);
  absl::StatusOr<v1::Adapter> Get(const std::string& tenant, const std::string& name);
  absl::StatusOr<v1::ListAdaptersResponse> List(const std::string& tenant, const v1::ListAdaptersRequest& request);
  // IN_USE while a collection pins it or an open job names it.
  absl::Status Delete(const std::string& tenant, const std::string& name);

 private:
  absl::Status CheckOnWorker(const CallScope& scope, const NewRevision& revision);
  absl::StatusOr<v1::Adapter> Publish(const CallScope& scope, const v1::ImportAdapterRequest::Header& header,
                                      const NewRevision& revision);

  const Parts parts_;
  const Options options_;
};

}  // namespace tenon::server
