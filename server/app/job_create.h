// From a checked request to a job's record: names looked up, digests pinned.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/blobs/blob_store.h"
#include "server/catalog/catalog.h"
#include "server/jobs/job.h"
#include "server/store/store.h"

namespace tenon::server {

// A data set with labels that a job does not allow: which row has one is found out by reading the file.
struct UnknownLabels {
  internal::v1::DatasetRef dataset;
  std::vector<std::string> allowed;
  std::string field;
};

// Looks up the base, the adapter's binding (or that the base to be made is free) and the data sets of a normalized job
// and completes it. NOT_FOUND, BASE_MISMATCH, ALREADY_EXISTS and FIELD_INVALID name the field. LABEL_UNKNOWN fills in
// `unknown`.
absl::StatusOr<JobRecord> PrepareFinetune(Snapshot& snapshot, const std::string& tenant, const v1::FinetuneJob& job,
                                          UnknownLabels* unknown);

// The same for an evaluation: pins the adapters' revisions, which must stand on one base and have labels. A retrieval
// evaluation is taken as it is.
absl::StatusOr<JobRecord> PrepareEval(Snapshot& snapshot, const ModelIndex& models, const std::string& tenant,
                                      const v1::EvalJob& job, UnknownLabels* unknown);

// LABEL_UNKNOWN with the first row whose label is not allowed. Blocks for as long as reading the file takes.
absl::Status NameUnknownLabel(BlobStore& blobs, const UnknownLabels& unknown);

}  // namespace tenon::server
