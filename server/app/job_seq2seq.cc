#include "server/app/job_seq2seq.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "server/app/stored_dataset.h"
#include "server/jobs/template_request.h"

namespace tenon::server {
namespace {

constexpr char kModels[] = "eval_job.seq2seq.models";

absl::StatusOr<ResolvedModel> Resolve(const ModelIndex& models, const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(ResolvedModel model, absl::StartsWith(name, "bases/")
                                            ? models.ResolveBase(tenant, name, kModels)
                                            : models.ResolveAdapter(tenant, name, kModels));
  if (model.task == v1::TASK_SEQ2SEQ) return model;
  const char* what = model.task == v1::TASK_EXTRACTIVE_SUMMARIZATION
                         ? " chooses sentences (TASK_EXTRACTIVE_SUMMARIZATION); it does not write texts"
                     : model.task == v1::TASK_CAUSAL_LM
                         ? " goes on from a prompt (TASK_CAUSAL_LM), which is not evaluated"
                         : " does not write texts";
  return TenonError(Reason::kNotGenerative, name + what, kModels);
}

// The evaluation's own template fits the rows; without one, each model's.
absl::Status CheckTemplate(const v1::Seq2SeqEval& eval, const std::string& name, const ResolvedModel& model,
                           const v1::Dataset& dataset) {
  const std::string path = "eval_job.seq2seq.text_template";
  if (eval.has_text_template()) return CheckTemplateFields(eval.text_template(), path, dataset);
  if (!model.text_template.has_value() || model.text_template->target().empty()) {
    const char* side = model.text_template.has_value() ? " has no template for targets; give one"
                                                       : " has no template of its own; give one";
    return TenonError(Reason::kFieldRequired, name + side, path);
  }
  const absl::Status status = CheckTemplateFields(*model.text_template, "text_template", dataset);
  if (status.ok()) return status;
  return AtField(Annotate(status, absl::StrCat("of ", name, ": ")), "eval_job.seq2seq.dataset");
}

}  // namespace

absl::Status PrepareSeq2SeqEval(Snapshot& snapshot, const ModelIndex& models, JobRecord& record) {
  const std::string dataset_field = "eval_job.seq2seq.dataset";
  v1::Seq2SeqEval& eval = *record.mutable_eval()->mutable_seq2seq();
  ASSIGN_OR_RETURN(const StoredDataset rows, FindDataset(snapshot, record.tenant(), eval.dataset(), dataset_field));
  RETURN_IF_ERROR(CheckTemplateRows(rows.dataset, dataset_field));
  *record.mutable_dataset() = rows.ref;
  for (std::string& name : *eval.mutable_models()) {
    ASSIGN_OR_RETURN(const ResolvedModel model, Resolve(models, record.tenant(), name));
    if (record.base_digest().empty()) record.set_base_digest(model.version.base_digest());
    if (record.base_digest() != model.version.base_digest()) {
      return TenonError(Reason::kBaseMismatch, name + " stands on another base than the first model", kModels);
    }
    RETURN_IF_ERROR(CheckTemplate(eval, name, model, rows.dataset));
    const bool base = model.version.adapter().empty();
    name = base ? model.version.base() : model.version.adapter() + "/revisions/" + model.version.revision();
    internal::v1::AdapterRef& ref = *record.add_adapters();  // a base has neither digest nor files there
    ref.set_digest(model.version.revision());
    for (const v1::FileEntry& file : model.adapter_files) *ref.add_files() = file;
    *record.add_models() = model.version;
  }
  return absl::OkStatus();
}

}  // namespace tenon::server
