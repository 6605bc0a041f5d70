// What a CreateEvalJob asks for, checked and with defaults written into it. Pure.
#pragma once

#include "absl/status/statusor.h"
#include "tenon/v1/eval_service.pb.h"

namespace tenon::server {

// The job as it will be stored, before its names are looked up: output fields cleared, names as `collection/id`,
// cut-offs filled in. FIELD_REQUIRED and FIELD_INVALID name the field.
absl::StatusOr<v1::EvalJob> NormalizeEval(const v1::EvalJob& requested);

}  // namespace tenon::server
