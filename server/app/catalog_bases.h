// Bases: uploaded or registered in place, checked, listed, deleted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "server/app/call_scope.h"
#include "server/app/datasets.h"
#include "server/blobs/blob_store.h"
#include "server/catalog/catalog.h"
#include "server/store/store.h"
#include "tenon/internal/v1/records.pb.h"

namespace tenon::server {

// Thread-safe. Calls block on the store and disk.
class Bases {
 public:
  struct Options {
    std::filesystem::path staging;     // uploads on their way in; on the blobs' file system
    std::filesystem::path bases_root;  // folders below may be registered in place; empty: none
    int64_t max_bytes = int64_t{64} << 30;
  };
  struct Parts {
    Store* store;
    BlobStore* blobs;
    ModelIndex* models;
    const Clock* clock;
    std::function<void()> changed;  // told after a base came or went, so that the fleet places it; may be empty
  };
  Bases(const Parts& parts, const Options& options) : parts_(parts), options_(options) {}

  // The same files under the same id again are the same base; other files are ALREADY_EXISTS. DIGEST_MISMATCH names the
  // file; BASE_INVALID, SAFETENSORS_INVALID, UNSUPPORTED say why it is no base. Nothing is stored on an error.
  absl::StatusOr<v1::Base> Upload(const CallScope& scope, const MessageSource<v1::UploadBaseRequest>& read);
  // LOOPBACK_ONLY from another machine; FIELD_INVALID for a folder, or a file in it, that is not below the root once
  // links are followed.
  absl::StatusOr<v1::Base> Register(const CallScope& scope, const v1::RegisterBaseRequest& request);
  absl::StatusOr<v1::Base> Get(const std::string& tenant, const std::string& name);
  absl::StatusOr<v1::ListBasesResponse> List(const std::string& tenant, const v1::ListBasesRequest& request);
  // IN_USE while adapters, collections or open jobs are bound to it.
  absl::Status Delete(const std::string& tenant, const std::string& name);

 private:
  struct Create {
    std::string id;
    std::string method;
    std::string request_id;
    std::string request_digest;
  };

  // The base with this id, when it has these files already; ALREADY_EXISTS when it has others.
  absl::StatusOr<std::optional<v1::Base>> Existing(Snapshot& snapshot, const std::string& tenant, const std::string& id,
                                                   const std::string& digest);
  absl::StatusOr<v1::Base> Insert(const std::string& tenant, const Create& create,
                                  const std::vector<v1::FileEntry>& files, internal::v1::BaseRecord record);

  const Parts parts_;
  const Options options_;
};

}  // namespace tenon::server
