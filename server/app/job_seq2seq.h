// Evaluations of texts that models write, with their models looked up.
#pragma once

#include "absl/status/status.h"
#include "server/catalog/catalog.h"
#include "server/jobs/job.h"
#include "server/store/store.h"

namespace tenon::server {

// Looks up the evaluation's data set and models: pins revisions, which must stand on one base that generates, and
// checks each template against the rows. NOT_FOUND, NOT_GENERATIVE, BASE_MISMATCH, FIELD_REQUIRED and FIELD_INVALID
// name the field.
absl::Status PrepareSeq2SeqEval(Snapshot& snapshot, const ModelIndex& models, JobRecord& record);

}  // namespace tenon::server
