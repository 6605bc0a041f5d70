// What a job for TASK_EXTRACTIVE_SUMMARIZATION asks for, but for its template, checked with defaults written into it.
// Pure.
#pragma once

#include "absl/status/status.h"
#include "tenon/v1/finetune_service.pb.h"

namespace tenon::server {

// Takes over the options of the scorer and chooses its metric. FIELD_INVALID for options of it with another task,
// UNSUPPORTED for a method that makes no adapter, OPTION_INVALID for one out of range; all name the field.
absl::Status NormalizeExtractive(const v1::FinetuneJob& requested, v1::FinetuneJob& job);

}  // namespace tenon::server
