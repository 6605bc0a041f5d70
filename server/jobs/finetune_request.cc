#include "server/jobs/finetune_request.h"

#include <algorithm>
#include <set>
#include <string>

#include "common/formats/status.h"
#include "common/formats/train_options.h"
#include "common/ids.h"
#include "common/tuning_options.h"
#include "server/jobs/extractive_request.h"
#include "server/jobs/method_options.h"
#include "server/jobs/seq2seq_request.h"
#include "server/jobs/span_request.h"
#include "server/jobs/template_request.h"

namespace tenon::server {
namespace {

using formats::Learns;

constexpr int64_t kEvaluationsByDefault = 10;
// problem_type, in transformers' words.
constexpr char kRegression[] = "regression";
constexpr char kSingleLabel[] = "single_label_classification";
constexpr char kMultiLabel[] = "multi_label_classification";

// The same error with the option's whole path as its field.
absl::Status WithPath(const absl::Status& status, const v1::FinetuneJob& job) {
  if (status.ok()) return status;
  return TenonError(GetReason(status), std::string(status.message()), OptionPath(job, GetField(status)));
}

absl::Status SetName(const std::string& collection, const std::string& field, std::string* name) {
  if (name->empty()) return TenonError(Reason::kFieldRequired, field + " is required", "finetune_job." + field);
  ASSIGN_OR_RETURN(const std::string id, ParseName(collection, *name, "finetune_job." + field));
  *name = collection + "/" + id;
  return absl::OkStatus();
}

absl::Status CheckKind(const v1::FinetuneJob& job) {
  switch (job.task()) {
    case v1::TASK_SEQUENCE_CLASSIFICATION:
    case v1::TASK_SEQ2SEQ:
    case v1::TASK_EXTRACTIVE_SUMMARIZATION:
    case v1::TASK_TOKEN_CLASSIFICATION:
    case v1::TASK_QUESTION_ANSWERING:
      break;
    case v1::TASK_UNSPECIFIED:
      return TenonError(Reason::kFieldRequired, "task is required", "finetune_job.task");
    case v1::TASK_FEATURE_EXTRACTION:
    case v1::TASK_CAUSAL_LM:
      return TenonError(
          Reason::kUnsupported,
          "fine-tuning serves TASK_SEQUENCE_CLASSIFICATION, TASK_TOKEN_CLASSIFICATION, TASK_QUESTION_ANSWERING, "
          "TASK_SEQ2SEQ and TASK_EXTRACTIVE_SUMMARIZATION",
          "finetune_job.task");
    default:
      return TenonError(Reason::kFieldInvalid, "task " + std::to_string(job.task()) + " is not known",
                        "finetune_job.task");
  }
  return CheckMethod(job);
}

void FillTraining(v1::TrainingOptions& t, v1::Method method, int64_t drawn_seed) {
  if (!t.has_learning_rate()) t.set_learning_rate(DefaultLearningRate(method));
  if (!t.has_schedule()) t.set_schedule("linear");
  if (!t.has_batch_size()) t.set_batch_size(8);
  if (!t.has_gradient_accumulation_steps()) t.set_gradient_accumulation_steps(1);
  if (!t.has_max_steps() && !t.has_epochs()) t.set_epochs(3);
  if (!t.has_weight_decay()) t.set_weight_decay(0);
  if (!t.has_max_grad_norm()) t.set_max_grad_norm(1);
  if (!t.has_seed()) t.set_seed(drawn_seed);
  if (!t.has_precision()) t.set_precision("fp32");
  if (!t.has_save_steps()) t.set_save_steps(50);
  if (!t.has_early_stopping_patience()) t.set_early_stopping_patience(0);
  if (!t.has_group_by_length()) t.set_group_by_length(true);
}

absl::StatusOr<formats::TrainOptions> ToOptions(const v1::FinetuneJob& job) {
  const v1::TrainingOptions& t = job.training();
  formats::TrainOptions options;
  RETURN_IF_ERROR(ReadMethodOptions(job, options));
  options.learning_rate = t.learning_rate();
  ASSIGN_OR_RETURN(options.schedule, formats::ParseSchedule(t.schedule()));
  options.batch_size = t.batch_size();
  options.gradient_accumulation_steps = t.gradient_accumulation_steps();
  options.max_steps = t.max_steps();
  options.epochs = t.epochs();
  options.weight_decay = t.weight_decay();
  options.max_grad_norm = t.max_grad_norm();
  options.max_input_tokens = t.max_input_tokens();
  if (t.has_max_target_tokens()) options.max_target_tokens = t.max_target_tokens();
  options.eval_steps = t.eval_steps();
  options.save_steps = t.save_steps();
  options.early_stopping_patience = t.early_stopping_patience();
  options.metric_for_best = t.metric_for_best();
  if (t.has_base_dropout()) options.base_dropout = t.base_dropout();
  return options;
}

absl::Status Refuse(const std::string& option, const std::string& message) {
  return TenonError(Reason::kOptionInvalid, option + " " + message, option);
}

// What CheckTrainOptions cannot see: fields that are present but mean nothing to the trainer.
absl::Status CheckOptions(const v1::FinetuneJob& job) {
  const v1::TrainingOptions& t = job.training();
  if (t.has_max_steps() && t.max_steps() < 1) return Refuse("max_steps", "must be 1 or above");
  if (t.has_epochs() && !(t.epochs() > 0)) return Refuse("epochs", "must be above 0");
  ASSIGN_OR_RETURN(const formats::TrainOptions options, ToOptions(job));
  RETURN_IF_ERROR(formats::CheckTrainOptions(options));
  RETURN_IF_ERROR(formats::ResolveWarmup(t.has_warmup_steps() ? std::optional<int64_t>(t.warmup_steps()) : std::nullopt,
                                         t.has_warmup_ratio() ? std::optional<double>(t.warmup_ratio()) : std::nullopt,
                                         1)
                      .status());
  if (t.has_max_input_tokens() && t.max_input_tokens() < 3) return Refuse("max_input_tokens", "must be 3 or above");
  if (t.has_base_dropout() && !(t.base_dropout() >= 0)) return Refuse("base_dropout", "must be from 0 to below 1");
  if (t.has_problem_type() && t.problem_type() != kRegression && t.problem_type() != kSingleLabel &&
      t.problem_type() != kMultiLabel) {
    return Refuse("problem_type", std::string("must be ") + kSingleLabel + ", " + kMultiLabel + " or " + kRegression);
  }
  if (t.seed() < 0) return Refuse("seed", "must not be negative");
  if (t.precision() != "fp32" && t.precision() != "bf16") return Refuse("precision", "must be fp32 or bf16");
  // No weight is frozen, so that none has a second format.
  if (MakesBase(job) && t.precision() != "fp32")
    return Refuse("precision", "must be fp32: the method trains all weights");
  return absl::OkStatus();
}

absl::Status CheckRows(const v1::Dataset& dataset, const std::string& field) {
  if (dataset.kind() != v1::DATASET_KIND_CLASSIFICATION && dataset.kind() != v1::DATASET_KIND_REGRESSION) {
    return TenonError(Reason::kFieldInvalid, dataset.name() + " holds no rows of text and label",
                      "finetune_job." + field);
  }
  if (dataset.row_count() > 0) return absl::OkStatus();
  return TenonError(Reason::kFieldInvalid, dataset.name() + " has no rows", "finetune_job." + field);
}

// What the rows are for, which options may say, too.
absl::Status CompleteProblem(v1::FinetuneJob& job, const v1::Dataset& train) {
  v1::TrainingOptions& t = *job.mutable_training();
  const bool regression = train.kind() == v1::DATASET_KIND_REGRESSION;
  const std::string& asked = t.problem_type();
  if (!asked.empty() && asked != kRegression && regression) {
    return Refuse("problem_type", "is " + asked + ", but rows of " + train.name() + " have numbers");
  }
  if (t.multi_label() && (regression || asked == kSingleLabel)) {
    return Refuse("multi_label",
                  std::string("is true, beside ") + (regression ? "rows of numbers" : "problem_type " + asked));
  }
  if (t.has_multi_label() && !t.multi_label() && asked == kMultiLabel) {
    return Refuse("multi_label", "is false, beside problem_type " + asked);
  }
  if (asked == kSingleLabel || asked == kMultiLabel) t.set_multi_label(asked == kMultiLabel);
  if (t.has_multi_label() && !t.multi_label() && train.multi_label()) {
    return Refuse(
        asked.empty() ? "multi_label" : "problem_type",
        (asked.empty() ? "is false" : "is " + asked) + ", but rows of " + train.name() + " have lists of labels");
  }
  if (!t.has_multi_label()) t.set_multi_label(train.multi_label());
  t.set_problem_type(regression ? kRegression : t.multi_label() ? kMultiLabel : kSingleLabel);
  ASSIGN_OR_RETURN(*t.mutable_metric_for_best(),
                   formats::ResolveMetric(t.metric_for_best(), regression ? Learns::kNumbers : Learns::kClasses));
  return absl::OkStatus();
}

// The outputs of a regression have transformers' names; validation rows must have as many numbers.
absl::Status CompleteOutputs(v1::FinetuneJob& job, const v1::Dataset& train,
                             const std::optional<v1::Dataset>& validation) {
  job.clear_labels();
  for (int i = 0; i < train.value_count(); ++i) job.add_labels("LABEL_" + std::to_string(i));
  if (!validation.has_value()) return absl::OkStatus();
  RETURN_IF_ERROR(CheckRows(*validation, "validation_dataset"));
  if (validation->value_count() == train.value_count()) return absl::OkStatus();
  return TenonError(Reason::kFieldInvalid,
                    "rows of " + validation->name() + " have " + std::to_string(validation->value_count()) +
                        " numbers, those of " + train.name() + " have " + std::to_string(train.value_count()),
                    "finetune_job.validation_dataset");
}

// Labels come from the training rows; those of validation rows must be among them.
absl::Status CompleteLabels(v1::FinetuneJob& job, const v1::Dataset& train,
                            const std::optional<v1::Dataset>& validation, bool* unknown_labels) {
  RETURN_IF_ERROR(CheckRows(train, "train_dataset"));
  const bool regression = train.kind() == v1::DATASET_KIND_REGRESSION;
  if (job.training().problem_type() == kRegression && !regression) {
    return TenonError(
        Reason::kFieldInvalid,
        train.name() + " holds labels, not numbers: its kind must be REGRESSION for problem_type regression",
        "finetune_job.train_dataset");
  }
  RETURN_IF_ERROR(WithPath(CompleteProblem(job, train), job));
  if (regression) return CompleteOutputs(job, train, validation);
  const v1::TrainingOptions& t = job.training();
  const int least = t.multi_label() ? 1 : 2;
  if (train.labels_size() < least) {
    return TenonError(Reason::kFieldInvalid,
                      train.name() + " has " + std::to_string(train.labels_size()) +
                          " label(s); training needs at least " + std::to_string(least),
                      "finetune_job.train_dataset");
  }
  *job.mutable_labels() = train.labels();
  if (!validation.has_value()) return absl::OkStatus();

  RETURN_IF_ERROR(CheckRows(*validation, "validation_dataset"));
  if (validation->kind() == v1::DATASET_KIND_REGRESSION) {
    return TenonError(Reason::kFieldInvalid,
                      "rows of " + validation->name() + " have numbers, those of " + train.name() + " have labels",
                      "finetune_job.validation_dataset");
  }
  if (validation->multi_label() && !t.multi_label()) {
    return TenonError(Reason::kFieldInvalid,
                      "rows of " + validation->name() + " have lists of labels, those of " + train.name() + " have not",
                      "finetune_job.validation_dataset");
  }
  const std::set<std::string> known(train.labels().begin(), train.labels().end());
  for (const std::string& label : validation->labels()) *unknown_labels |= !known.contains(label);
  return absl::OkStatus();
}

// Rows that a scorer of sentences learns from are the sentences, and those for answers are windows of contexts, which
// only the worker that cuts the texts counts: what depends on the number of steps is left open, unless that is given.
bool StepsAreKnown(const v1::FinetuneJob& job) {
  const bool cut = job.task() == v1::TASK_EXTRACTIVE_SUMMARIZATION || job.task() == v1::TASK_QUESTION_ANSWERING;
  return !cut || job.training().has_max_steps();
}

// What depends on the number of rows.
absl::Status CompleteSchedule(v1::FinetuneJob& job, int64_t rows, bool validates) {
  v1::TrainingOptions& t = *job.mutable_training();
  const auto options = ToOptions(job);
  if (!options.ok()) return WithPath(options.status(), job);
  const int64_t steps = formats::TotalSteps(*options, rows);
  const auto warmup =
      formats::ResolveWarmup(t.has_warmup_steps() ? std::optional<int64_t>(t.warmup_steps()) : std::nullopt,
                             t.has_warmup_ratio() ? std::optional<double>(t.warmup_ratio()) : std::nullopt, steps);
  if (!warmup.ok()) return WithPath(warmup.status(), job);
  // Both stay unset or as they were given: exactly one may be set, and whoever reads the echo may send it again.
  if (!t.has_warmup_ratio()) t.set_warmup_steps(*warmup);
  if (!t.has_eval_steps() && !validates) t.set_eval_steps(0);
  if (!t.has_eval_steps() && StepsAreKnown(job)) {
    t.set_eval_steps(std::max<int64_t>(1, steps / kEvaluationsByDefault));
  }
  return absl::OkStatus();
}

// Of classes and numbers the data says which they are, and so what the default is.
absl::Status NormalizeMetric(v1::FinetuneJob& job) {
  std::string& metric = *job.mutable_training()->mutable_metric_for_best();
  if (job.task() == v1::TASK_SEQUENCE_CLASSIFICATION) {
    if (formats::ResolveMetric(metric, Learns::kNumbers).ok()) return absl::OkStatus();
    return formats::ResolveMetric(metric, Learns::kClasses).status();
  }
  const Learns learns = job.task() == v1::TASK_SEQ2SEQ                ? Learns::kTexts
                        : job.task() == v1::TASK_TOKEN_CLASSIFICATION ? Learns::kTags
                        : job.task() == v1::TASK_QUESTION_ANSWERING   ? Learns::kAnswers
                                                                      : Learns::kClasses;
  ASSIGN_OR_RETURN(metric, formats::ResolveMetric(metric, learns));
  return absl::OkStatus();
}

absl::Status CheckTemplate(const v1::FinetuneJob& job, const v1::Dataset& dataset, const std::string& field) {
  RETURN_IF_ERROR(CheckTemplateRows(dataset, "finetune_job." + field));
  return CheckTemplateFields(job.text_template(), "finetune_job.text_template", dataset);
}

}  // namespace

bool MakesBase(const v1::FinetuneJob& job) { return job.method() == v1::METHOD_FULL; }

absl::StatusOr<v1::FinetuneJob> NormalizeFinetune(const v1::FinetuneJob& requested, int64_t drawn_seed) {
  // Only what a client may set is taken over.
  v1::FinetuneJob job;
  job.set_base(requested.base());
  job.set_adapter(requested.adapter());
  job.set_task(requested.task());
  job.set_method(requested.method());
  job.set_train_dataset(requested.train_dataset());
  job.set_validation_dataset(requested.validation_dataset());
  if (requested.has_training()) *job.mutable_training() = requested.training();

  RETURN_IF_ERROR(SetName("bases", "base", job.mutable_base()));
  RETURN_IF_ERROR(SetName(MakesBase(job) ? "bases" : "adapters", "adapter", job.mutable_adapter()));
  RETURN_IF_ERROR(SetName("datasets", "train_dataset", job.mutable_train_dataset()));
  if (!job.validation_dataset().empty()) {
    RETURN_IF_ERROR(SetName("datasets", "validation_dataset", job.mutable_validation_dataset()));
  }
  RETURN_IF_ERROR(CheckKind(requested));
  RETURN_IF_ERROR(NormalizeTemplate(requested, job));
  RETURN_IF_ERROR(NormalizeSeq2Seq(job));
  RETURN_IF_ERROR(NormalizeExtractive(requested, job));
  RETURN_IF_ERROR(NormalizeSpans(requested, job));
  FillTraining(*job.mutable_training(), job.method(), drawn_seed);
  FillMethodOptions(requested, job);
  RETURN_IF_ERROR(WithPath(NormalizeMetric(job), job));
  RETURN_IF_ERROR(WithPath(CheckOptions(job), job));
  return job;
}

absl::Status CompleteFinetune(v1::FinetuneJob& job, const v1::Dataset& train,
                              const std::optional<v1::Dataset>& validation, UnknownIn* unknown_labels) {
  bool unknown = false, in_train = false;
  if (FindsSpans(job.task())) {
    RETURN_IF_ERROR(CompleteSpans(job, train, validation, &unknown, &in_train));
  } else if (TakesTemplate(job.task())) {
    RETURN_IF_ERROR(CheckTemplate(job, train, "train_dataset"));
    if (validation.has_value()) RETURN_IF_ERROR(CheckTemplate(job, *validation, "validation_dataset"));
  } else {
    RETURN_IF_ERROR(CompleteLabels(job, train, validation, &unknown));
  }
  *unknown_labels = in_train ? UnknownIn::kTrain : unknown ? UnknownIn::kValidation : UnknownIn::kNone;
  return CompleteSchedule(job, train.row_count(), validation.has_value());
}

}  // namespace tenon::server
