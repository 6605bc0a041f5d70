// Jobs on texts that models write: previews of their rows, and evaluations with their models looked up.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/formats/text_template.h"
#include "server/blobs/blob_store.h"
#include "server/catalog/catalog.h"
#include "server/jobs/job.h"
#include "server/store/store.h"

namespace tenon::server {

// The first rows of a stored data set.
struct FirstRows {
  std::string sha256;  // of the data set; empty when there is none of that name
  std::vector<formats::Record> rows;
};

// Reads the beginning of the file: what a preview is made of. Blocks on the blob, so not in a transaction. A data set
// that is not there, or whose first row is longer than what is read, gives no rows.
absl::StatusOr<FirstRows> ReadFirstRows(Store& store, BlobStore& blobs, const std::string& tenant,
                                        const std::string& dataset);

// Writes the first rows as the job's template makes them into its preview, each text cut to 1000 characters. Does
// nothing for other tasks, or when the data set is no longer the one that `first` was read from.
absl::Status AddPreview(const FirstRows& first, JobRecord& record);

// Looks up the evaluation's data set and models: pins revisions, which must stand on one base that generates, and
// checks each template against the rows. NOT_FOUND, NOT_GENERATIVE, BASE_MISMATCH, FIELD_REQUIRED and FIELD_INVALID
// name the field.
absl::Status PrepareSeq2SeqEval(Snapshot& snapshot, const ModelIndex& models, JobRecord& record);

}  // namespace tenon::server
