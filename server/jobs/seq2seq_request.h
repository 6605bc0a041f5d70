// What jobs on texts that models write ask for, of training and evaluation, checked with defaults written into it.
// Pure.
#pragma once

#include "absl/status/status.h"
#include "tenon/v1/eval_service.pb.h"
#include "tenon/v1/finetune_service.pb.h"

namespace tenon::server {

// Checks what belongs to TASK_SEQ2SEQ, or to other tasks alone, but for the template. OPTION_INVALID and UNSUPPORTED
// name the field.
absl::Status NormalizeSeq2Seq(v1::FinetuneJob& job);

// The evaluation as it will be stored, before its names are looked up. FIELD_REQUIRED, FIELD_INVALID and UNSUPPORTED
// name the field.
absl::Status NormalizeSeq2SeqEval(v1::Seq2SeqEval& eval);

}  // namespace tenon::server
