#include "server/jobs/template_request.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/formats/status.h"
#include "common/formats/text_template.h"
#include "common/tuning_options.h"

namespace tenon::server {
namespace {

// Names that a template may use. Sets that were stored before they had them are of text and label.
std::vector<std::string> FieldsOf(const v1::Dataset& dataset) {
  if (!dataset.fields().empty()) return {dataset.fields().begin(), dataset.fields().end()};
  if (dataset.kind() != v1::DATASET_KIND_CLASSIFICATION) return {};
  return dataset.multi_label() ? std::vector<std::string>{"text"} : std::vector<std::string>{"label", "text"};
}

}  // namespace

absl::Status NormalizeTemplate(const v1::FinetuneJob& requested, v1::FinetuneJob& job) {
  const std::string path = "finetune_job.text_template";
  if (!TakesTemplate(job.task())) {
    if (!requested.has_text_template()) return absl::OkStatus();
    return TenonError(Reason::kFieldInvalid, path + " is for TASK_SEQ2SEQ and TASK_EXTRACTIVE_SUMMARIZATION", path);
  }
  if (job.training().multi_label()) {
    return TenonError(Reason::kOptionInvalid, "multi_label is for TASK_SEQUENCE_CLASSIFICATION",
                      "finetune_job.training.multi_label");
  }
  if (job.training().has_problem_type()) {
    return TenonError(Reason::kOptionInvalid, "problem_type is for TASK_SEQUENCE_CLASSIFICATION",
                      "finetune_job.training.problem_type");
  }
  v1::TextTemplate& text_template = *job.mutable_text_template();
  if (requested.has_text_template()) text_template = requested.text_template();
  if (text_template.input().empty()) text_template.set_input("{input}");
  if (text_template.target().empty()) text_template.set_target("{target}");
  return CheckTemplateSides(text_template, path);
}

absl::Status CheckTemplateSides(const v1::TextTemplate& text_template, const std::string& path) {
  RETURN_IF_ERROR(formats::TextPattern::Parse(text_template.input(), path + ".input").status());
  return formats::TextPattern::Parse(text_template.target(), path + ".target").status();
}

absl::Status CheckTemplateFields(const v1::TextTemplate& text_template, const std::string& path,
                                 const v1::Dataset& dataset) {
  const std::vector<std::string> fields = FieldsOf(dataset);
  absl::Status status;
  for (const auto& [side, text] :
       {std::make_pair("input", text_template.input()), std::make_pair("target", text_template.target())}) {
    ASSIGN_OR_RETURN(const auto pattern, formats::TextPattern::Parse(text, absl::StrCat(path, ".", side)));
    status = pattern.CheckFields(fields);
    if (!status.ok()) break;
  }
  if (status.ok()) return status;
  // A column that broke in one row is the likeliest reason, and the upload said so.
  std::string message = absl::StrCat(std::string(status.message()), " (", dataset.name(), ")");
  if (!dataset.warnings().empty()) absl::StrAppend(&message, "; ", absl::StrJoin(dataset.warnings(), "; "));
  return TenonError(GetReason(status), message, GetField(status));
}

absl::Status CheckTemplateRows(const v1::Dataset& dataset, const std::string& field) {
  if (FieldsOf(dataset).empty()) {
    return TenonError(Reason::kFieldInvalid,
                      absl::StrCat(dataset.name(), " holds no rows for a template: upload it as DATASET_KIND_RECORDS"),
                      field);
  }
  if (dataset.row_count() > 0) return absl::OkStatus();
  return TenonError(Reason::kFieldInvalid, dataset.name() + " has no rows", field);
}

}  // namespace tenon::server
