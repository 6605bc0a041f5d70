#include "worker/link/convert.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/status_proto.h"
#include "common/tuning_options.h"

namespace tenon::link {
namespace {

// What PEFT would treat as a regular expression. A dot alone stands in plain suffixes, too: `attention.self.query`.
bool IsPattern(const std::string& name) { return name.find_first_of("*+?()[]{}|^$\\") != std::string::npos; }

absl::StatusOr<formats::LoraConfig> ToLora(const v1::FinetuneJob& spec) {
  const v1::LoraOptions& options = spec.lora();
  if (options.has_bias() && options.bias() != "none") {
    return TenonError(Reason::kUnsupported, absl::StrCat("bias `", options.bias(), "`: only `none` is supported"),
                      "bias");
  }
  formats::LoraConfig lora;
  lora.r = options.has_r() ? options.r() : 8;
  lora.alpha = options.has_alpha() ? options.alpha() : 16;
  lora.dropout = options.dropout();
  lora.use_rslora = options.use_rslora();
  lora.target_modules.assign(options.target_modules().begin(), options.target_modules().end());
  if (lora.target_modules.empty()) lora.target_modules = DefaultLoraTargets(spec.task(), /*model_type=*/"");
  if (lora.target_modules.size() == 1) {
    const std::string name = lora.target_modules.front();
    lora.all_linear = name == "all-linear";
    if (!lora.all_linear && IsPattern(name)) lora.target_regex = name;
    if (lora.all_linear || !lora.target_regex.empty()) lora.target_modules.clear();
  }
  for (const auto& [key, rank] : options.rank_pattern()) lora.rank_pattern[key] = rank;
  for (const auto& [key, alpha] : options.alpha_pattern()) lora.alpha_pattern[key] = alpha;
  lora.modules_to_save.assign(options.modules_to_save().begin(), options.modules_to_save().end());
  lora.task_type = spec.task() == v1::TASK_FEATURE_EXTRACTION     ? "FEATURE_EXTRACTION"
                   : spec.task() == v1::TASK_SEQ2SEQ              ? "SEQ_2_SEQ_LM"
                   : spec.task() == v1::TASK_TOKEN_CLASSIFICATION ? "TOKEN_CLS"
                   : spec.task() == v1::TASK_QUESTION_ANSWERING   ? "QUESTION_ANS"
                                                                  : "SEQ_CLS";
  lora.base_model_name_or_path = spec.base();
  return lora;
}

absl::Status ReadMethod(const v1::FinetuneJob& spec, engine::TrainOptions& to) {
  switch (spec.method()) {
    case v1::METHOD_LORA: {
      to.method = engine::Method::kLora;
      ASSIGN_OR_RETURN(to.lora, ToLora(spec));
      return absl::OkStatus();
    }
    case v1::METHOD_PROMPT_TUNING: {
      to.method = engine::Method::kPromptTuning;
      ASSIGN_OR_RETURN(to.prompt, ToPromptConfig(spec.prompt_tuning()));
      to.prompt.base_model_name_or_path = spec.base();
      return absl::OkStatus();
    }
    case v1::METHOD_BOTTLENECK: {
      to.method = engine::Method::kBottleneck;
      ASSIGN_OR_RETURN(to.bottleneck, ToBottleneckConfig(spec.bottleneck()));
      to.bottleneck.model_name = spec.base();
      return absl::OkStatus();
    }
    case v1::METHOD_HEAD:
      to.method = engine::Method::kHead;
      return absl::OkStatus();
    case v1::METHOD_FULL:
      to.method = engine::Method::kFull;
      return absl::OkStatus();
    default:
      return TenonError(Reason::kUnsupported, absl::StrCat("this worker does not know method ", spec.method()),
                        "method");
  }
}

template <typename T>
std::optional<T> Optional(bool has, T value) {
  return has ? std::optional<T>(value) : std::nullopt;
}

v1::Metric* AddMetric(google::protobuf::RepeatedPtrField<v1::Metric>* metrics, const std::string& name, double value) {
  v1::Metric* metric = metrics->Add();
  metric->set_name(name);
  metric->set_value(value);
  return metric;
}

void AddScores(const formats::TenonConfig& adapter, const engine::ClassificationScores& scores,
               v1::EvalResult& result) {
  AddMetric(result.mutable_metrics(), "accuracy", scores.accuracy);
  AddMetric(result.mutable_metrics(), "macro_f1", scores.macro_f1);
  AddMetric(result.mutable_metrics(), "micro_f1", scores.micro_f1);
  AddMetric(result.mutable_metrics(), "weighted_f1", scores.weighted_f1);
  for (size_t i = 0; i < scores.classes.size(); ++i) {
    v1::EvalResult::ClassScore* out = result.add_classes();
    if (i < adapter.labels.size()) out->set_label(adapter.labels[i]);
    out->set_precision(scores.classes[i].precision);
    out->set_recall(scores.classes[i].recall);
    out->set_f1(scores.classes[i].f1);
    out->set_support(scores.classes[i].support);
  }
  result.mutable_confusion_matrix()->Add(scores.confusion.begin(), scores.confusion.end());
  result.set_examples(scores.rows);
}

// A correlation that is undefined is left out.
void AddScores(const engine::RegressionScores& scores, v1::EvalResult& result) {
  AddMetric(result.mutable_metrics(), "mse", scores.mse);
  if (scores.pearson.has_value()) AddMetric(result.mutable_metrics(), "pearson", *scores.pearson);
  if (scores.spearman.has_value()) AddMetric(result.mutable_metrics(), "spearman", *scores.spearman);
  result.set_examples(scores.rows);
}

// Types of entities stand in place of labels.
void AddScores(const engine::TagScores& scores, v1::EvalResult& result) {
  AddMetric(result.mutable_metrics(), "precision", scores.precision);
  AddMetric(result.mutable_metrics(), "recall", scores.recall);
  AddMetric(result.mutable_metrics(), "f1", scores.f1);
  AddMetric(result.mutable_metrics(), "accuracy", scores.accuracy);
  for (const auto& [type, score] : scores.types) {
    v1::EvalResult::ClassScore* out = result.add_classes();
    out->set_label(type);
    out->set_precision(score.precision);
    out->set_recall(score.recall);
    out->set_f1(score.f1);
    out->set_support(score.support);
  }
  result.set_examples(scores.rows);
}

void AddScores(const engine::AnswerScores& scores, v1::EvalResult& result) {
  const auto add = [&](const std::string& of, const engine::AnswerScores::Means& means) {
    AddMetric(result.mutable_metrics(), of + "exact_match", means.exact_match);
    AddMetric(result.mutable_metrics(), of + "f1", means.f1);
  };
  add("", scores.all);
  result.set_examples(scores.all.rows);
  if (scores.without_answer.rows == 0) return;
  if (scores.with_answer.rows > 0) add("with_answer_", scores.with_answer);
  // The same number twice.
  AddMetric(result.mutable_metrics(), "without_answer_exact_match", scores.without_answer.exact_match);
}

}  // namespace

absl::StatusOr<runtime::InferenceCall> ToCall(const internal::v1::InferenceRequest& request, absl::Time now) {
  runtime::InferenceCall call;
  call.base_digest = request.base_digest();
  call.adapter_digest = request.adapter().digest();
  switch (request.kind()) {
    case internal::v1::INFERENCE_KIND_CLASSIFY:
      call.output = engine::Output::kProbabilities;
      break;
    case internal::v1::INFERENCE_KIND_EMBED:
    case internal::v1::INFERENCE_KIND_CHECK_ADAPTER:
      call.output = engine::Output::kEmbedding;
      break;
    default:
      return TenonError(Reason::kInternal, absl::StrCat("unknown kind of inference ", request.kind()));
  }
  call.texts.assign(request.texts().begin(), request.texts().end());
  call.text_pairs.assign(request.text_pairs().begin(), request.text_pairs().end());
  if (request.kind() == internal::v1::INFERENCE_KIND_CHECK_ADAPTER) call.texts.clear();
  switch (request.pooling()) {
    case v1::POOLING_MEAN:
      call.pooling = formats::Pooling::kMean;
      break;
    case v1::POOLING_CLS:
      call.pooling = formats::Pooling::kCls;
      break;
    case v1::POOLING_MAX:
      call.pooling = formats::Pooling::kMax;
      break;
    default:
      break;
  }
  if (request.has_normalize()) call.normalize = request.normalize();
  if (request.timeout_ms() > 0) call.deadline = now + absl::Milliseconds(request.timeout_ms());
  return call;
}

internal::v1::InferenceResult ToResult(uint64_t call_id, internal::v1::InferenceKind kind, bool has_adapter,
                                       const absl::StatusOr<runtime::InferenceReply>& reply) {
  internal::v1::InferenceResult result;
  result.set_call_id(call_id);
  if (!reply.ok()) {
    *result.mutable_error() = ToErrorProto(reply.status());
    return result;
  }
  for (const runtime::InferenceRow& row : reply->rows) {
    internal::v1::RowResult* out = result.add_rows();
    out->mutable_values()->Add(row.values.begin(), row.values.end());
    out->set_input_tokens(row.input_tokens);
    out->set_truncated(row.truncated);
    result.set_input_tokens(result.input_tokens() + row.input_tokens);
  }
  result.set_queue_seconds(absl::ToDoubleSeconds(reply->queue_time));
  result.set_compute_seconds(absl::ToDoubleSeconds(reply->compute_time));
  // The catalog knows a stored adapter's labels; nobody but the worker those of a base's own head.
  const bool check = kind == internal::v1::INFERENCE_KIND_CHECK_ADAPTER;
  if (check || (!has_adapter && kind == internal::v1::INFERENCE_KIND_CLASSIFY)) {
    result.mutable_labels()->Add(reply->adapter.labels.begin(), reply->adapter.labels.end());
  }
  if (check) {
    result.set_task(TaskOf(reply->adapter));
    result.set_method(MethodOfName(reply->adapter.method));
    result.set_regression(reply->adapter.regression);
    if (const auto& own = reply->adapter.text_template; own.has_value()) {
      result.mutable_text_template()->set_input(own->input);
      result.mutable_text_template()->set_target(own->target);
    }
  }
  return result;
}

absl::StatusOr<formats::DatasetFormat> ToFormat(v1::DatasetFormat format) {
  switch (format) {
    case v1::DATASET_FORMAT_JSONL:
      return formats::DatasetFormat::kJsonLines;
    case v1::DATASET_FORMAT_CSV:
      return formats::DatasetFormat::kCsv;
    case v1::DATASET_FORMAT_TSV:
      return formats::DatasetFormat::kTsv;
    default:
      return TenonError(Reason::kInternal, "the data set has no format");
  }
}

absl::StatusOr<engine::TrainOptions> ToTrainOptions(const v1::FinetuneJob& spec, int64_t rows) {
  const v1::TrainingOptions& from = spec.training();
  engine::TrainOptions to;
  RETURN_IF_ERROR(ReadMethod(spec, to));
  to.learning_rate = from.has_learning_rate() ? from.learning_rate() : DefaultLearningRate(spec.method());
  if (from.has_schedule()) {
    ASSIGN_OR_RETURN(to.schedule, formats::ParseSchedule(from.schedule()));
  }
  if (from.has_batch_size()) to.batch_size = from.batch_size();
  if (from.has_gradient_accumulation_steps()) to.gradient_accumulation_steps = from.gradient_accumulation_steps();
  if (from.has_max_steps()) to.max_steps = from.max_steps();
  if (from.has_epochs()) to.epochs = from.epochs();
  if (from.has_weight_decay()) to.weight_decay = from.weight_decay();
  if (from.has_max_grad_norm()) to.max_grad_norm = from.max_grad_norm();
  if (from.has_max_input_tokens()) to.max_input_tokens = from.max_input_tokens();
  if (from.has_max_target_tokens()) to.max_target_tokens = from.max_target_tokens();
  to.seed = static_cast<uint64_t>(from.seed());
  if (from.has_precision()) {
    if (from.precision() != "fp32" && from.precision() != "bf16") {
      return TenonError(Reason::kOptionInvalid, absl::StrCat("precision `", from.precision(), "`: fp32 or bf16"),
                        "precision");
    }
    to.precision = from.precision() == "bf16" ? engine::Precision::kBf16 : engine::Precision::kFp32;
  }
  if (from.has_save_steps()) to.save_steps = from.save_steps();
  if (from.has_early_stopping_patience()) to.early_stopping_patience = from.early_stopping_patience();
  if (from.has_metric_for_best()) to.metric_for_best = from.metric_for_best();
  to.crf = spec.token_classification().crf();
  to.doc_stride = spec.question_answering().doc_stride();
  if (from.has_base_dropout()) to.base_dropout = from.base_dropout();
  if (from.has_group_by_length()) to.group_by_length = from.group_by_length();
  RETURN_IF_ERROR(formats::CheckTrainOptions(to));  // what the step counts below divide by
  const int64_t total = formats::TotalSteps(to, rows);
  to.eval_steps = from.has_eval_steps() ? from.eval_steps() : std::max<int64_t>(1, total / 10);
  ASSIGN_OR_RETURN(to.warmup_steps,
                   formats::ResolveWarmup(Optional(from.has_warmup_steps(), from.warmup_steps()),
                                          Optional(from.has_warmup_ratio(), from.warmup_ratio()), total));
  RETURN_IF_ERROR(formats::CheckTrainOptions(to));
  return to;
}

absl::StatusOr<std::vector<engine::LabelledText>> ToRows(const formats::Dataset& dataset,
                                                         const std::vector<std::string>& labels) {
  const bool numbers = dataset.kind == formats::DatasetKind::kRegression;
  if (dataset.kind != formats::DatasetKind::kClassification && !numbers) {
    return TenonError(Reason::kDatasetInvalid, "the data set has no rows of text and label");
  }
  std::vector<std::vector<int64_t>> indices(dataset.classification.size());
  if (!numbers) {
    ASSIGN_OR_RETURN(indices, formats::LabelIndices(dataset, labels));
  }
  std::vector<engine::LabelledText> rows;
  rows.reserve(indices.size());
  for (size_t i = 0; i < indices.size(); ++i) {
    const formats::ClassificationRow& row = dataset.classification[i];
    rows.push_back(
        {.text = row.text, .labels = std::move(indices[i]), .text_pair = row.text_pair, .values = row.values});
  }
  return rows;
}

v1::JobEvent::MetricPoint ToMetricPoint(int64_t step, const std::string& kind,
                                        const std::map<std::string, double>& metrics) {
  v1::JobEvent::MetricPoint point;
  point.set_step(step);
  point.set_kind(kind);
  for (const auto& [name, value] : metrics) AddMetric(point.mutable_metrics(), name, value);
  return point;
}

v1::EvalResult ToEvalResult(const std::string& base_digest, const std::string& adapter_digest,
                            const formats::TenonConfig& adapter, const runtime::HeadScores& scores) {
  v1::EvalResult result;
  result.mutable_model()->set_base_digest(base_digest);
  result.mutable_model()->set_revision(adapter_digest);
  if (const auto* classes = std::get_if<engine::ClassificationScores>(&scores)) {
    AddScores(adapter, *classes, result);
  } else if (const auto* numbers = std::get_if<engine::RegressionScores>(&scores)) {
    AddScores(*numbers, result);
  } else if (const auto* tags = std::get_if<engine::TagScores>(&scores)) {
    AddScores(*tags, result);
  } else {
    AddScores(std::get<engine::AnswerScores>(scores), result);
  }
  return result;
}

}  // namespace tenon::link
