// Previews: the first rows of a job's data set as its template makes them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/formats/text_template.h"
#include "server/blobs/blob_store.h"
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
// nothing for tasks without one, or when the data set is no longer the one that `first` was read from.
absl::Status AddPreview(const FirstRows& first, JobRecord& record);

}  // namespace tenon::server
