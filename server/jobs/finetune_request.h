// What a CreateFinetuneJob asks for, checked and with every default written into it. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "tenon/v1/dataset_service.pb.h"
#include "tenon/v1/finetune_service.pb.h"

namespace tenon::server {

// Whether the job makes a base of its own, which `adapter` names, instead of an adapter revision.
bool MakesBase(const v1::FinetuneJob& job);

// The job as it will be stored, before its data is known: names as `collection/id`, output fields cleared, defaults
// filled in, `drawn_seed` where no seed was given. FIELD_REQUIRED, FIELD_INVALID, UNSUPPORTED and OPTION_INVALID name
// the field.
absl::StatusOr<v1::FinetuneJob> NormalizeFinetune(const v1::FinetuneJob& requested, int64_t drawn_seed);

// Checks the job against its data sets and fills in what depends on them: labels, problem_type, multi_label,
// metric_for_best, warm-up, eval_steps.
// FIELD_INVALID names the data set, or the side of the template that uses a field which a data set lacks. Rows are not
// read here: `unknown_labels` tells which rows have labels that are not among the job's (those of the training rows,
// unless the job gives them), and the caller, who can read the rows, names the row.
enum class UnknownIn { kNone, kTrain, kValidation };
absl::Status CompleteFinetune(v1::FinetuneJob& job, const v1::Dataset& train,
                              const std::optional<v1::Dataset>& validation, UnknownIn* unknown_labels);

}  // namespace tenon::server
