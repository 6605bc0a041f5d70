// Data sets as jobs look them up.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/formats/dataset.h"
#include "server/store/store.h"
#include "tenon/internal/v1/worker_link_service.pb.h"
#include "tenon/v1/dataset_service.pb.h"

namespace tenon::server {

// `datasets/x` without its collection.
std::string IdOf(const std::string& name);
// The same error about the request's own field.
absl::Status AtField(const absl::Status& status, const std::string& field);

struct StoredDataset {
  v1::Dataset dataset;
  internal::v1::DatasetRef ref;
};

// NOT_FOUND names `field`.
absl::StatusOr<StoredDataset> FindDataset(Snapshot& snapshot, const std::string& tenant, const std::string& name,
                                          const std::string& field);

// How the reader of rows calls what the reference says.
formats::DatasetFormat RowFormat(const internal::v1::DatasetRef& ref);

}  // namespace tenon::server
