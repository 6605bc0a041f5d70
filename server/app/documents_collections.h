// Collections as resources: an encoder pinned by digest, and how its vectors are compared.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "server/catalog/catalog.h"
#include "server/retrieval/index_cache.h"
#include "server/store/store.h"
#include "tenon/internal/v1/records.pb.h"
#include "tenon/v1/retrieval_service.pb.h"

namespace tenon::server {

// Thread-safe. Calls block on the store.
class Collections {
 public:
  struct Parts {
    Store* store;
    ModelIndex* models;
    IndexCache* indexes;
    const Clock* clock;
  };
  explicit Collections(const Parts& parts) : parts_(parts) {}

  // FIELD_REQUIRED, FIELD_INVALID, ID_INVALID, NOT_FOUND (of the encoder), ALREADY_EXISTS, REQUEST_ID_REUSED.
  absl::StatusOr<v1::Collection> Create(const std::string& tenant, const v1::CreateCollectionRequest& request);
  absl::StatusOr<v1::Collection> Get(const std::string& tenant, const std::string& name);
  absl::StatusOr<v1::ListCollectionsResponse> List(const std::string& tenant,
                                                   const v1::ListCollectionsRequest& request);
  // With all its documents. IN_USE while an evaluation job reads it.
  absl::Status Delete(const std::string& tenant, const std::string& name);

  // The record behind a name; `field` is the request's.
  absl::StatusOr<internal::v1::CollectionRecord> Find(const std::string& tenant, const std::string& name,
                                                      const std::string& field);

 private:
  const Parts parts_;
};

// The same in a snapshot.
absl::StatusOr<internal::v1::CollectionRecord> FindCollection(Snapshot& snapshot, const std::string& tenant,
                                                              const std::string& name, const std::string& field);

// The record again in a transaction: NOT_FOUND when the collection was deleted, or made anew, since `record` was read.
absl::Status CheckSameCollection(Snapshot& snapshot, const std::string& tenant,
                                 const internal::v1::CollectionRecord& record);

IndexSpec SpecOf(const v1::Collection& collection);

// Reads a collection's documents for its index.
IndexCache::Loader DocumentLoader(Store* store);

}  // namespace tenon::server
