#include "server/app/job_seq2seq.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/dataset_kind.h"
#include "common/formats/dataset.h"
#include "common/formats/status.h"
#include "server/app/stored_dataset.h"
#include "server/jobs/seq2seq_request.h"

namespace tenon::server {
namespace {

constexpr int64_t kPreviewRows = 3;
constexpr size_t kHeadBytes = 8 << 20;
constexpr size_t kPreviewCharacters = 1000;
constexpr char kModels[] = "eval_job.seq2seq.models";

// At most so many characters, with an ellipsis where something was cut.
std::string Cut(std::string text) {
  size_t characters = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) continue;
    if (++characters <= kPreviewCharacters) continue;
    text.resize(at);
    return text + "…";
  }
  return text;
}

absl::StatusOr<ResolvedModel> Resolve(const ModelIndex& models, const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(ResolvedModel model, absl::StartsWith(name, "bases/")
                                            ? models.ResolveBase(tenant, name, kModels)
                                            : models.ResolveAdapter(tenant, name, kModels));
  if (model.task == v1::TASK_SEQ2SEQ) return model;
  return TenonError(Reason::kNotGenerative, name + " does not write texts", kModels);
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

absl::StatusOr<FirstRows> ReadFirstRows(Store& store, BlobStore& blobs, const std::string& tenant,
                                        const std::string& dataset) {
  StoredDataset stored;
  const absl::Status found = store.Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(stored, FindDataset(snapshot, tenant, dataset, ""));
    return absl::OkStatus();
  });
  // Whoever creates the job says what is wrong with the name.
  if (absl::IsNotFound(found)) return FirstRows();
  RETURN_IF_ERROR(found);
  std::string bytes;
  bool enough = false;
  const absl::Status read = blobs.Read(stored.ref.sha256(), [&](const std::string& piece) {
    bytes += piece;
    enough = bytes.size() >= kHeadBytes;
    return enough ? absl::CancelledError("enough was read") : absl::OkStatus();
  });
  if (!enough) RETURN_IF_ERROR(read);
  FirstRows first{.sha256 = stored.ref.sha256()};
  const auto kind = RowKind(stored.ref.kind());
  if (kind.has_value()) first.rows = formats::ReadFirstRecords(bytes, RowFormat(stored.ref), *kind, kPreviewRows);
  return first;
}

absl::Status AddPreview(const FirstRows& first, JobRecord& record) {
  v1::FinetuneJob& job = *record.mutable_finetune();
  if (job.task() != v1::TASK_SEQ2SEQ || first.sha256 != record.dataset().sha256()) return absl::OkStatus();
  const std::string path = "finetune_job.text_template";
  ASSIGN_OR_RETURN(const auto input, formats::TextPattern::Parse(job.text_template().input(), path + ".input"));
  ASSIGN_OR_RETURN(const auto target, formats::TextPattern::Parse(job.text_template().target(), path + ".target"));
  for (size_t i = 0; i < first.rows.size(); ++i) {
    v1::TemplatedRow& row = *job.add_preview();
    for (const auto& [pattern, text] :
         {std::make_pair(&input, row.mutable_input()), std::make_pair(&target, row.mutable_target())}) {
      absl::StatusOr<std::string> rendered = pattern->Render(first.rows[i]);
      if (!rendered.ok()) return Annotate(rendered.status(), absl::StrCat(job.train_dataset(), ", row ", i + 1, ": "));
      *text = Cut(*std::move(rendered));
    }
  }
  return absl::OkStatus();
}

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
