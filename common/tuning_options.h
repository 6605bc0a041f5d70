// What a fine-tuning task and method decide, and a method's own options, from the contract to what the formats know:
// one reading for the server, which checks a job, and the worker, which runs it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/adapter_config.h"
#include "common/formats/bottleneck_config.h"
#include "common/formats/prompt_config.h"
#include "tenon/v1/finetune_service.pb.h"

namespace tenon {

// The method that tenon.json calls by this name; METHOD_UNSPECIFIED when there is none.
v1::Method MethodOfName(const std::string& name);

// The task of an adapter with this tenon.json; TASK_UNSPECIFIED when it names none that there is.
v1::Task TaskOf(const formats::TenonConfig& adapter);

// Whether rows of the task's data sets become texts by a template, instead of being texts and labels themselves.
bool TakesTemplate(v1::Task task);
// Whether its head stands on every token of an encoder: tags of words, and answers in contexts.
bool FindsSpans(v1::Task task);

// AdamW's rate when a job names none.
double DefaultLearningRate(v1::Method method);

// Modules that a LoRA adapts when a job names none: queries and values, as the base's family calls them; BERT, where
// the type of model is not known.
std::vector<std::string> DefaultLoraTargets(v1::Task task, const std::string& model_type);

// Writes the documented default into every field that is not set.
void FillPromptTuning(v1::PromptTuningOptions& options);

// The same; the layout decides the others' defaults. An unknown one gets none: it is refused later.
void FillBottleneck(v1::BottleneckOptions& options);

// OPTION_INVALID names the field. Absent fields are the defaults.
absl::StatusOr<formats::BottleneckConfig> ToBottleneckConfig(v1::BottleneckOptions options);
absl::StatusOr<formats::PromptConfig> ToPromptConfig(v1::PromptTuningOptions options);

}  // namespace tenon
