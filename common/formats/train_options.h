// Options of a fine-tuning run and their ranges: one check for the server, which refuses a job, and the trainer, which
// runs it. Every field is decided; defaults are filled in by whoever submits (documented in
// tenon/v1/finetune_service.proto).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/formats/adapter_config.h"
#include "common/formats/bottleneck_config.h"
#include "common/formats/prompt_config.h"

namespace tenon::formats {

enum class Method { kHead, kLora, kPromptTuning, kBottleneck, kFull };
enum class Schedule { kLinear, kCosine, kConstant };

struct TrainOptions {
  Method method = Method::kLora;
  LoraConfig lora;              // for kLora
  PromptConfig prompt;          // for kPromptTuning
  BottleneckConfig bottleneck;  // for kBottleneck
  double learning_rate = 1e-3;
  Schedule schedule = Schedule::kLinear;
  int64_t warmup_steps = 0;
  int64_t batch_size = 8;  // rows of a micro-batch
  int64_t gradient_accumulation_steps = 1;
  int64_t max_steps = 0;  // optimizer steps; 0: epochs decide
  double epochs = 3;
  double weight_decay = 0;          // decoupled; on matrices, not on biases and norms
  double max_grad_norm = 1;         // 0: no clipping
  int64_t max_input_tokens = 0;     // 0: the base's default
  int64_t max_target_tokens = 128;  // of a base that writes; their end included
  uint64_t seed = 0;
  int64_t eval_steps = 0;  // 0: at the end alone
  int64_t save_steps = 50;
  int64_t early_stopping_patience = 0;  // evaluations without a better one; 0: never
  std::string metric_for_best;          // as ResolveMetric takes it
  double base_dropout = -1;             // < 0: the base's config
  bool group_by_length = true;
  bool shuffle = true;     // false: rows in the order given, every epoch (for comparisons); turns group_by_length off
  int64_t doc_stride = 0;  // of answers: see engine::AnswerWindows; 0: its default
  bool crf = false;        // of tags: chosen together, by a linear chain
  bool head_baseline = true;  // a linear probe on the frozen features, for comparison; needs validation rows
};

// OPTION_INVALID, with the option's name as the field and its range in the message. A method's own options are
// checked for that method alone.
absl::Status CheckTrainOptions(const TrainOptions& options);

// What a model learns to give.
enum class Learns { kClasses, kNumbers, kTexts, kTags, kAnswers };

// What chooses the best checkpoint, for an empty `metric` the first of these: of classes `accuracy`, `macro_f1` or
// `loss`; of numbers `loss`, `pearson` or `spearman`; of a base that writes `loss` or `token_accuracy`; of tags `f1`,
// `accuracy` or `loss`; of answers `f1`, `exact_match` or `loss`. OPTION_INVALID for another.
absl::StatusOr<std::string> ResolveMetric(const std::string& metric, Learns learns);

// `linear`, `cosine`, `constant`; OPTION_INVALID otherwise.
absl::StatusOr<Schedule> ParseSchedule(const std::string& text);

// Optimizer steps of one pass over `rows` rows (the last may be a partial one), and of the whole run; as transformers'
// Trainer counts.
int64_t StepsPerEpoch(const TrainOptions& options, int64_t rows);
int64_t TotalSteps(const TrainOptions& options, int64_t rows);

// Warm-up steps from the two ways to say them; OPTION_INVALID when both are given or one is out of its range.
absl::StatusOr<int64_t> ResolveWarmup(std::optional<int64_t> steps, std::optional<double> ratio, int64_t total_steps);

}  // namespace tenon::formats
