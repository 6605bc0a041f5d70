// Rows of named fields, as a template makes texts of them. Pure.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/dataset.h"
#include "tenon/v1/types.pb.h"
#include "worker/engine/train/trainer.h"

namespace tenon::link {

// FIELD_INVALID names a side of the template, DATASET_INVALID and TEXT_TOO_LARGE the row.
absl::StatusOr<std::vector<engine::TextPair>> ToTextPairs(const formats::Dataset& dataset,
                                                          const v1::TextTemplate& text_template);

}  // namespace tenon::link
