// The options that belong to one fine-tuning method. Pure.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "common/formats/train_options.h"
#include "tenon/v1/finetune_service.pb.h"

namespace tenon::server {

// FIELD_REQUIRED or FIELD_INVALID for a method that there is not, FIELD_INVALID for options of another method,
// OPTION_INVALID for too many bytes of them; all name the field.
absl::Status CheckMethod(const v1::FinetuneJob& job);

// Takes over the method's own options and writes its defaults into them, but those of FillTargets.
void FillMethodOptions(const v1::FinetuneJob& requested, v1::FinetuneJob& job);

// What depends on the base: a LoRA's target modules, where the job names none.
void FillTargets(const std::string& model_type, v1::FinetuneJob& job);

// `options.method` and what goes with it. OPTION_INVALID or UNSUPPORTED names the option.
absl::Status ReadMethodOptions(const v1::FinetuneJob& job, formats::TrainOptions& options);

// The whole path of an option's field: `finetune_job.lora.r`, `finetune_job.training.epochs`.
std::string OptionPath(const v1::FinetuneJob& job, const std::string& option);

}  // namespace tenon::server
