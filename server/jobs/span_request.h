// What fine-tuning jobs for tags of words and for answers ask for. Pure.
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "tenon/v1/dataset_service.pb.h"
#include "tenon/v1/finetune_service.pb.h"

namespace tenon::server {

// Takes over and checks the options of the two tasks (FindsSpans), which no other may have: FIELD_INVALID,
// OPTION_INVALID and UNSUPPORTED name the field.
absl::Status NormalizeSpans(const v1::FinetuneJob& requested, v1::FinetuneJob& job);

// Checks the data sets' kinds, and fills in the labels: those of the options, or of the training rows. `unknown_labels`
// as CompleteFinetune's, and it may be the training rows that have them: `in_train`.
absl::Status CompleteSpans(v1::FinetuneJob& job, const v1::Dataset& train, const std::optional<v1::Dataset>& validation,
                           bool* unknown_labels, bool* in_train);

}  // namespace tenon::server
