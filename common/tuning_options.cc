#include "common/tuning_options.h"

#include "absl/strings/ascii.h"
#include "common/formats/families/families.h"
#include "common/formats/status.h"

namespace tenon {

v1::Method MethodOfName(const std::string& name) {
  v1::Method method = v1::METHOD_UNSPECIFIED;
  v1::Method_Parse("METHOD_" + absl::AsciiStrToUpper(name), &method);
  return method;
}

v1::Task TaskOf(const formats::TenonConfig& adapter) {
  if (adapter.task == "feature_extraction") return v1::TASK_FEATURE_EXTRACTION;
  if (adapter.task == "seq2seq") return v1::TASK_SEQ2SEQ;
  if (adapter.task == "causal_lm") return v1::TASK_CAUSAL_LM;
  if (adapter.task == "token_classification") return v1::TASK_TOKEN_CLASSIFICATION;
  if (adapter.task == "question_answering") return v1::TASK_QUESTION_ANSWERING;
  if (adapter.task != "sequence_classification") return v1::TASK_UNSPECIFIED;
  return adapter.sentence_scorer.has_value() ? v1::TASK_EXTRACTIVE_SUMMARIZATION : v1::TASK_SEQUENCE_CLASSIFICATION;
}

bool TakesTemplate(v1::Task task) { return task == v1::TASK_SEQ2SEQ || task == v1::TASK_EXTRACTIVE_SUMMARIZATION; }

bool FindsSpans(v1::Task task) { return task == v1::TASK_TOKEN_CLASSIFICATION || task == v1::TASK_QUESTION_ANSWERING; }

double DefaultLearningRate(v1::Method method) {
  switch (method) {
    case v1::METHOD_HEAD:
    case v1::METHOD_PROMPT_TUNING:
      return 1e-2;
    case v1::METHOD_FULL:
      return 5e-5;
    default:
      return 1e-3;
  }
}

std::vector<std::string> DefaultLoraTargets(v1::Task task, const std::string& model_type) {
  if (task == v1::TASK_SEQ2SEQ) return {"q", "v"};
  const formats::EncoderFamily* family = formats::FindFamily(model_type);
  return family == nullptr ? formats::EncoderFamily().lora_targets : family->lora_targets;
}

void FillPromptTuning(v1::PromptTuningOptions& options) {
  if (!options.has_num_virtual_tokens()) options.set_num_virtual_tokens(20);
  if (!options.has_init()) options.set_init("vocabulary");
}

absl::StatusOr<formats::PromptConfig> ToPromptConfig(v1::PromptTuningOptions options) {
  FillPromptTuning(options);
  formats::PromptConfig config;
  config.num_virtual_tokens = options.num_virtual_tokens();
  ASSIGN_OR_RETURN(config.init, formats::ParsePromptInit(options.init()));
  config.init_text = options.init_text();
  return config;
}

void FillBottleneck(v1::BottleneckOptions& options) {
  if (!options.has_layout()) options.set_layout("seq_bn");
  const auto layout = formats::ParseLayout(options.layout());
  if (!layout.ok()) return;
  const formats::BottleneckConfig config = formats::LayoutConfig(*layout);
  if (!options.has_reduction_factor()) options.set_reduction_factor(config.reduction_factor);
  if (!options.has_non_linearity()) options.set_non_linearity(config.non_linearity);
}

absl::StatusOr<formats::BottleneckConfig> ToBottleneckConfig(v1::BottleneckOptions options) {
  FillBottleneck(options);
  ASSIGN_OR_RETURN(const formats::BottleneckLayout layout, formats::ParseLayout(options.layout()));
  formats::BottleneckConfig config = formats::LayoutConfig(layout);
  config.reduction_factor = options.reduction_factor();
  config.non_linearity = options.non_linearity();
  return config;
}

}  // namespace tenon
