#include "client/cli/job_submit.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "client/cli/output.h"
#include "client/uploads.h"
#include "common/formats/status.h"
#include "common/ids.h"
#include "common/tuning_options.h"

namespace tenon::cli {

absl::StatusOr<std::string> DatasetName(Cli& cli, const std::string& given, const std::string& option,
                                        v1::DatasetKind kind) {
  std::error_code unreadable;  // what cannot be looked at is no file of ours
  if (std::filesystem::is_regular_file(given, unreadable)) {
    ASSIGN_OR_RETURN(const v1::Dataset dataset, client::EnsureDataset(cli.client(), given, kind));
    PrintNote(absl::StrCat(given, ": ", dataset.row_count(), " rows, ", dataset.name()));
    for (const std::string& warning : dataset.warnings()) PrintNote(absl::StrCat("  warning: ", warning));
    return dataset.name();
  }
  if (ParseName("datasets", given, option).ok()) return given;
  return TenonError(Reason::kNotFound, absl::StrCat("'", given, "' is neither a file nor the id of a data set."),
                    option);
}

absl::Status FinishJob(Cli& cli, const AnyJob& created, bool wait) {
  if (!wait) {
    if (!cli.json()) PrintNote(absl::StrCat("Follow it with: tenon jobs watch ", ShortName(created.name())));
    return PrintJob(cli, created);
  }
  const bool makes_base = !created.is_eval && created.finetune.method() == v1::METHOD_FULL;
  PrintNote(absl::StrCat(created.name(), makes_base ? " makes " + created.finetune.adapter() : ""));
  absl::StatusOr<AnyJob> ended = FollowJob(cli, created.name(), created.is_eval, WatchOutput::kProgress);
  if (!ended.ok()) {
    PrintNote(absl::StrCat("The job goes on: tenon jobs watch ", ShortName(created.name())));
    return ended.status();
  }
  return PrintJob(cli, *ended);
}

v1::DatasetKind RowsOf(v1::Task task, const std::string& problem_type) {
  if (TakesTemplate(task)) return v1::DATASET_KIND_RECORDS;
  if (task == v1::TASK_TOKEN_CLASSIFICATION) return v1::DATASET_KIND_TAGS;
  if (task == v1::TASK_QUESTION_ANSWERING) return v1::DATASET_KIND_ANSWERS;
  return problem_type == "regression" ? v1::DATASET_KIND_REGRESSION : v1::DATASET_KIND_UNSPECIFIED;
}

void TemplateFlags::AddTo(CLI::App* command, const std::string& group) {
  command
      ->add_option("--input-template", input,
                   "What the model reads: a row's fields in braces, as 'summarize: {dialogue}'; {{ is a brace")
      ->group(group);
  command->add_option("--target-template", target, "What it shall write, or the text's summary, as '{summary}'")
      ->group(group);
}

}  // namespace tenon::cli
