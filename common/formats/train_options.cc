#include "common/formats/train_options.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr int64_t kMaxSteps = 100'000'000;
constexpr int64_t kMaxRank = 512;
constexpr double kMaxAlpha = 1e9;  // what adapter_config.json may hold

absl::Status Invalid(const std::string& name, const std::string& got, const std::string& range) {
  return TenonError(Reason::kOptionInvalid, absl::StrCat(name, " is ", got, "; it must be ", range), name);
}

absl::Status CheckInt(const std::string& name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return Invalid(name, absl::StrCat(value), absl::StrCat("from ", low, " to ", high));
}

// `ok` is computed by the caller so that NaN, which fails every comparison, is refused.
absl::Status CheckReal(const std::string& name, double value, bool ok, const std::string& range) {
  if (ok && std::isfinite(value)) return absl::OkStatus();
  return Invalid(name, absl::StrCat(value), range);
}

absl::Status CheckLora(const LoraConfig& lora) {
  RETURN_IF_ERROR(CheckInt("r", lora.r, 1, kMaxRank));
  RETURN_IF_ERROR(CheckReal("alpha", lora.alpha, lora.alpha > 0 && lora.alpha <= kMaxAlpha, "above 0 and at most 1e9"));
  RETURN_IF_ERROR(CheckReal("dropout", lora.dropout, lora.dropout >= 0 && lora.dropout < 1, "from 0 to below 1"));
  for (const auto& [name, rank] : lora.rank_pattern) {
    if (rank < 1 || rank > kMaxRank) {
      return Invalid("rank_pattern", absl::StrCat(rank, " for \"", name, "\""), absl::StrCat("from 1 to ", kMaxRank));
    }
  }
  for (const auto& [name, alpha] : lora.alpha_pattern) {
    if (!(alpha > 0 && alpha <= kMaxAlpha)) {
      return Invalid("alpha_pattern", absl::StrCat(alpha, " for \"", name, "\""), "above 0 and at most 1e9");
    }
  }
  for (const std::string& module : lora.target_modules) {
    if (module.empty()) return Invalid("target_modules", "a list with an empty name", "a list of module names");
  }
  if (lora.target_modules.empty() && lora.target_regex.empty() && !lora.all_linear) {
    return Invalid("target_modules", "empty", "a list of module names, a regular expression or all-linear");
  }
  return CheckLoraPatterns(lora);
}

}  // namespace

absl::Status CheckTrainOptions(const TrainOptions& o) {
  // The upper bounds keep every product of them an fp32 number.
  RETURN_IF_ERROR(CheckReal("learning_rate", o.learning_rate, o.learning_rate > 0 && o.learning_rate <= 1e30,
                            "above 0 and at most 1e30"));
  RETURN_IF_ERROR(CheckInt("warmup_steps", o.warmup_steps, 0, kMaxSteps));
  RETURN_IF_ERROR(CheckInt("batch_size", o.batch_size, 1, 1024));
  RETURN_IF_ERROR(CheckInt("gradient_accumulation_steps", o.gradient_accumulation_steps, 1, 1024));
  RETURN_IF_ERROR(CheckInt("max_steps", o.max_steps, 0, kMaxSteps));
  if (o.max_steps == 0) {
    RETURN_IF_ERROR(CheckReal("epochs", o.epochs, o.epochs > 0 && o.epochs <= 10'000, "above 0 and at most 10000"));
  }
  RETURN_IF_ERROR(
      CheckReal("weight_decay", o.weight_decay, o.weight_decay >= 0 && o.weight_decay <= 1e6, "from 0 to 1e6"));
  RETURN_IF_ERROR(CheckReal("max_grad_norm", o.max_grad_norm, o.max_grad_norm >= 0, "0 (no clipping) or above"));
  if (o.max_input_tokens != 0) RETURN_IF_ERROR(CheckInt("max_input_tokens", o.max_input_tokens, 3, 1 << 20));
  RETURN_IF_ERROR(CheckInt("max_target_tokens", o.max_target_tokens, 2, 1 << 20));
  RETURN_IF_ERROR(CheckInt("eval_steps", o.eval_steps, 0, kMaxSteps));
  RETURN_IF_ERROR(CheckInt("save_steps", o.save_steps, 1, kMaxSteps));
  RETURN_IF_ERROR(CheckInt("early_stopping_patience", o.early_stopping_patience, 0, kMaxSteps));
  // Whether it fits the task is ResolveMetric's to say, which knows it.
  bool known = false;
  for (const auto learns : {Learns::kClasses, Learns::kNumbers, Learns::kTexts, Learns::kTags, Learns::kAnswers}) {
    known = known || ResolveMetric(o.metric_for_best, learns).ok();
  }
  if (!known) {
    return Invalid("metric_for_best", absl::StrCat("\"", o.metric_for_best, "\""),
                   "accuracy, macro_f1, loss, pearson, spearman, token_accuracy, f1 or exact_match");
  }
  if (o.doc_stride != 0) RETURN_IF_ERROR(CheckInt("doc_stride", o.doc_stride, 1, 1 << 20));
  RETURN_IF_ERROR(CheckReal("base_dropout", o.base_dropout, o.base_dropout < 1, "from 0 to below 1"));
  switch (o.method) {
    case Method::kHead:
    case Method::kFull:
      break;
    case Method::kLora:
      return CheckLora(o.lora);
    case Method::kPromptTuning:
      return CheckPromptOptions(o.prompt);
    case Method::kBottleneck:
      return CheckBottleneckOptions(o.bottleneck);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ResolveMetric(const std::string& metric, Learns learns) {
  const bool places = learns == Learns::kTags || learns == Learns::kAnswers;
  if (metric.empty()) return std::string(learns == Learns::kClasses ? "accuracy" : places ? "f1" : "loss");
  const auto refuse = [&](const char* allowed) {
    return Invalid("metric_for_best", absl::StrCat("\"", metric, "\""), allowed);
  };
  if (metric == "loss") return metric;
  switch (learns) {
    case Learns::kClasses:
      if (metric == "accuracy" || metric == "macro_f1") return metric;
      return refuse("accuracy, macro_f1 or loss");
    case Learns::kNumbers:
      if (metric == "pearson" || metric == "spearman") return metric;
      return refuse("loss, pearson or spearman");
    case Learns::kTags:
      if (metric == "f1" || metric == "accuracy") return metric;
      return refuse("f1, accuracy or loss");
    case Learns::kAnswers:
      if (metric == "f1" || metric == "exact_match") return metric;
      return refuse("f1, exact_match or loss");
    case Learns::kTexts:
      break;
  }
  if (metric == "token_accuracy") return metric;
  return refuse("loss or token_accuracy");
}

absl::StatusOr<Schedule> ParseSchedule(const std::string& text) {
  if (text == "linear") return Schedule::kLinear;
  if (text == "cosine") return Schedule::kCosine;
  if (text == "constant") return Schedule::kConstant;
  return Invalid("schedule", absl::StrCat("\"", text, "\""), "linear, cosine or constant");
}

int64_t StepsPerEpoch(const TrainOptions& options, int64_t rows) {
  const int64_t batches = (rows + options.batch_size - 1) / options.batch_size;
  const int64_t group = options.gradient_accumulation_steps;
  return std::max<int64_t>((batches + group - 1) / group, 1);
}

int64_t TotalSteps(const TrainOptions& options, int64_t rows) {
  if (options.max_steps > 0) return options.max_steps;
  const double steps = std::ceil(options.epochs * static_cast<double>(StepsPerEpoch(options, rows)));
  return static_cast<int64_t>(std::min(steps, static_cast<double>(kMaxSteps)));
}

absl::StatusOr<int64_t> ResolveWarmup(std::optional<int64_t> steps, std::optional<double> ratio, int64_t total_steps) {
  if (steps.has_value() && ratio.has_value()) {
    return TenonError(Reason::kOptionInvalid, "warmup_steps and warmup_ratio are both set; set one of them",
                      "warmup_ratio");
  }
  if (steps.has_value()) {
    RETURN_IF_ERROR(CheckInt("warmup_steps", *steps, 0, kMaxSteps));
    return *steps;
  }
  if (!ratio.has_value()) return 0;
  RETURN_IF_ERROR(CheckReal("warmup_ratio", *ratio, *ratio >= 0 && *ratio <= 1, "from 0 to 1"));
  return static_cast<int64_t>(std::ceil(*ratio * static_cast<double>(total_steps)));
}

}  // namespace tenon::formats
