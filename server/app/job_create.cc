#include "server/app/job_create.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/dataset_kind.h"
#include "common/formats/dataset.h"
#include "common/formats/families/families.h"
#include "common/formats/status.h"
#include "common/ids.h"
#include "common/tuning_options.h"
#include "server/app/catalog_requests.h"
#include "server/app/job_seq2seq.h"
#include "server/app/stored_dataset.h"
#include "server/jobs/finetune_request.h"
#include "server/jobs/method_options.h"

namespace tenon::server {
namespace {

constexpr int64_t kMaxDatasetBytes = int64_t{4} << 30;

// What rows of this kind measure; UNSPECIFIED for a kind that is for other evaluations.
v1::Task TaskOfRows(v1::DatasetKind kind) {
  switch (kind) {
    case v1::DATASET_KIND_CLASSIFICATION:
    case v1::DATASET_KIND_REGRESSION:
      return v1::TASK_SEQUENCE_CLASSIFICATION;
    case v1::DATASET_KIND_TAGS:
      return v1::TASK_TOKEN_CLASSIFICATION;
    case v1::DATASET_KIND_ANSWERS:
      return v1::TASK_QUESTION_ANSWERING;
    default:
      return v1::TASK_UNSPECIFIED;
  }
}

absl::StatusOr<ResolvedModel> ResolveForEval(const ModelIndex& models, const std::string& tenant,
                                             const std::string& name, const v1::Dataset& dataset) {
  const std::string field = "eval_job.classification.adapters";
  ASSIGN_OR_RETURN(ResolvedModel model, models.ResolveAdapter(tenant, name, field));
  if (model.labels.empty()) {
    return TenonError(Reason::kNoClassifier, name + " has no classification head", field);
  }
  if (model.task == v1::TASK_EXTRACTIVE_SUMMARIZATION) {
    return TenonError(Reason::kUnsupported,
                      name + " scores the sentences of a text, of which bare rows of text and label say nothing",
                      field);
  }
  const v1::Task wanted = TaskOfRows(dataset.kind());
  if (model.task != wanted) {
    return TenonError(Reason::kTaskMismatch,
                      absl::StrCat("rows of ", dataset.name(), " are for ", v1::Task_Name(wanted), "; ", name,
                                   " is for ", v1::Task_Name(model.task)),
                      field);
  }
  const bool numbers = dataset.kind() == v1::DATASET_KIND_REGRESSION;
  if (numbers != model.regression) {
    return TenonError(Reason::kFieldInvalid,
                      "rows of " + dataset.name() + (numbers ? " have numbers; " : " have labels; ") + name +
                          " gives " + (numbers ? "labels" : "numbers"),
                      "eval_job.classification.dataset");
  }
  if (numbers && dataset.value_count() != static_cast<int>(model.labels.size())) {
    return TenonError(Reason::kFieldInvalid,
                      "rows of " + dataset.name() + " have " + std::to_string(dataset.value_count()) + " numbers; " +
                          name + " gives each text " + std::to_string(model.labels.size()),
                      "eval_job.classification.dataset");
  }
  if (dataset.multi_label() && !model.multi_label) {
    return TenonError(Reason::kFieldInvalid,
                      "rows of " + dataset.name() + " have lists of labels; " + name + " gives one label a text",
                      "eval_job.classification.dataset");
  }
  return model;
}

// Classes and sentences' scores are what an encoder's head gives; a base that writes is trained to write.
absl::Status CheckBaseFor(const v1::FinetuneJob& job, const v1::Base& base) {
  if (base.model_type() == "bart") {
    return TenonError(
        Reason::kUnsupported,
        base.name() + " is of model type bart, which is not trained here; it serves adapters that PEFT made",
        "finetune_job.base");
  }
  const formats::EncoderFamily* family = formats::FindFamily(base.model_type());
  if (family != nullptr && family->head.model_class.empty() && FindsSpans(job.task())) {
    return TenonError(Reason::kUnsupported,
                      absl::StrCat(base.name(), " is of type ", base.model_type(),
                                   ", of which transformers has no model with a head on every token"),
                      "finetune_job.task");
  }
  if (family != nullptr && family->head.model_class.empty() && job.method() != v1::METHOD_HEAD) {
    return TenonError(Reason::kUnsupported,
                      absl::StrCat(base.name(), " is of type ", base.model_type(),
                                   ", which takes no classifier on its first token; use METHOD_HEAD"),
                      "finetune_job.method");
  }
  const auto does = [&](v1::Task task) {
    return std::find(base.tasks().begin(), base.tasks().end(), task) != base.tasks().end();
  };
  if (does(v1::TASK_CAUSAL_LM)) {
    return TenonError(
        Reason::kUnsupported,
        base.name() + " has a decoder alone: it serves, with adapters that are imported, but is not trained",
        "finetune_job.base");
  }
  const bool writes = does(v1::TASK_SEQ2SEQ);
  if (writes == (job.task() == v1::TASK_SEQ2SEQ)) return absl::OkStatus();
  if (!writes) {
    return TenonError(Reason::kNotGenerative,
                      base.name() + " does not write texts; TASK_SEQ2SEQ needs a base that does", "finetune_job.base");
  }
  const char* instead = job.task() == v1::TASK_EXTRACTIVE_SUMMARIZATION
                            ? " writes texts: train it with TASK_SEQ2SEQ; sentences are chosen by an encoder"
                            : " writes texts: train it with TASK_SEQ2SEQ, a class being the text of its label";
  return TenonError(Reason::kUnsupported, base.name() + instead, "finetune_job.task");
}

}  // namespace

absl::StatusOr<JobRecord> PrepareFinetune(Snapshot& snapshot, const std::string& tenant, const v1::FinetuneJob& job,
                                          UnknownLabels* unknown) {
  JobRecord record;
  record.set_tenant(tenant);
  v1::FinetuneJob& spec = *record.mutable_finetune();
  spec = job;

  const absl::StatusOr<v1::Base> base = ReadBase(snapshot, tenant, IdOf(job.base()));
  if (!base.ok()) return AtField(base.status(), "finetune_job.base");
  record.set_base_digest(base->digest());
  RETURN_IF_ERROR(CheckBaseFor(job, *base));
  if (MakesBase(job)) {
    RETURN_IF_ERROR(CheckBaseFree(snapshot, tenant, IdOf(job.adapter()), "finetune_job.adapter"));
  } else {
    const absl::Status binding = CheckAdapterBinding(snapshot, tenant, IdOf(job.adapter()), base->digest(), job.task());
    if (!binding.ok()) return AtField(binding, "finetune_job.adapter");
  }

  ASSIGN_OR_RETURN(const StoredDataset train,
                   FindDataset(snapshot, tenant, job.train_dataset(), "finetune_job.train_dataset"));
  *record.mutable_dataset() = train.ref;
  std::optional<v1::Dataset> validation;
  if (!job.validation_dataset().empty()) {
    ASSIGN_OR_RETURN(StoredDataset found,
                     FindDataset(snapshot, tenant, job.validation_dataset(), "finetune_job.validation_dataset"));
    *record.mutable_validation() = found.ref;
    validation = std::move(found.dataset);
  }
  FillTargets(base->model_type(), spec);
  UnknownIn unknown_labels = UnknownIn::kNone;
  RETURN_IF_ERROR(CompleteFinetune(spec, train.dataset, validation, &unknown_labels));
  if (unknown_labels == UnknownIn::kNone) return record;
  const std::vector<std::string> labels(spec.labels().begin(), spec.labels().end());
  if (unknown_labels == UnknownIn::kTrain) {
    *unknown = {record.dataset(), labels, "finetune_job.train_dataset"};
    return TenonError(Reason::kLabelUnknown, job.train_dataset() + " has labels that the job's own set lacks",
                      unknown->field);
  }
  *unknown = {record.validation(), labels, "finetune_job.validation_dataset"};
  return TenonError(Reason::kLabelUnknown, job.validation_dataset() + " has labels that the training rows lack",
                    unknown->field);
}

absl::StatusOr<JobRecord> PrepareEval(Snapshot& snapshot, const ModelIndex& models, const std::string& tenant,
                                      const v1::EvalJob& job, UnknownLabels* unknown) {
  JobRecord record;
  record.set_tenant(tenant);
  *record.mutable_eval() = job;
  if (job.has_retrieval()) return record;
  if (job.has_seq2seq()) {
    RETURN_IF_ERROR(PrepareSeq2SeqEval(snapshot, models, record));
    return record;
  }

  v1::ClassificationEval& spec = *record.mutable_eval()->mutable_classification();
  const std::string dataset_field = "eval_job.classification.dataset";
  ASSIGN_OR_RETURN(const StoredDataset rows, FindDataset(snapshot, tenant, spec.dataset(), dataset_field));
  if (TaskOfRows(rows.dataset.kind()) == v1::TASK_UNSPECIFIED) {
    return TenonError(Reason::kFieldInvalid, spec.dataset() + " holds no rows of text and label, tags or answers",
                      dataset_field);
  }
  if (spec.has_answers() && rows.dataset.kind() != v1::DATASET_KIND_ANSWERS) {
    return TenonError(Reason::kFieldInvalid, "answers is for rows of kind ANSWERS", "eval_job.classification.answers");
  }
  *record.mutable_dataset() = rows.ref;
  for (std::string& name : *spec.mutable_adapters()) {
    ASSIGN_OR_RETURN(const ResolvedModel model, ResolveForEval(models, tenant, name, rows.dataset));
    if (record.base_digest().empty()) record.set_base_digest(model.version.base_digest());
    if (record.base_digest() != model.version.base_digest()) {
      return TenonError(Reason::kBaseMismatch, name + " stands on another base than the first adapter",
                        "eval_job.classification.adapters");
    }
    const std::set<std::string> allowed(model.labels.begin(), model.labels.end());
    for (const std::string& label : rows.dataset.labels()) {
      if (allowed.contains(label)) continue;
      *unknown = {rows.ref, model.labels, dataset_field};
      return TenonError(Reason::kLabelUnknown, spec.dataset() + " has labels that " + name + " lacks", dataset_field);
    }
    name = model.version.adapter() + "/revisions/" + model.version.revision();
    internal::v1::AdapterRef& ref = *record.add_adapters();
    ref.set_digest(model.version.revision());
    for (const v1::FileEntry& file : model.adapter_files) *ref.add_files() = file;
    *record.add_models() = model.version;
  }
  return record;
}

absl::Status NameUnknownLabel(BlobStore& blobs, const UnknownLabels& unknown) {
  ASSIGN_OR_RETURN(const std::string bytes, blobs.ReadAll(unknown.dataset.sha256(), kMaxDatasetBytes));
  ASSIGN_OR_RETURN(const formats::Dataset dataset,
                   formats::ReadDataset(bytes, RowFormat(unknown.dataset), {}, RowKind(unknown.dataset.kind())));
  const auto indices = formats::LabelIndices(dataset, unknown.allowed);
  if (!indices.ok()) return Annotate(indices.status(), unknown.field + ": ");
  return TenonError(Reason::kLabelUnknown, "rows have labels that are not in the label set", unknown.field);
}

}  // namespace tenon::server
