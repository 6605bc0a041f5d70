// What commands that make jobs share: data by file or id, templates, and what follows a job that was made.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/command.h"
#include "client/cli/job_view.h"

namespace tenon::cli {

// A data set by id, or a file that is uploaded, to be read as `kind`, unless the server has its bytes already.
absl::StatusOr<std::string> DatasetName(Cli& cli, const std::string& given, const std::string& option,
                                        v1::DatasetKind kind = v1::DATASET_KIND_UNSPECIFIED);
// As which kind rows for a task are read: templates take every column, whatever their names, a regression numbers that
// could be classes, and tags and answers are of one kind alone. Others tell by their columns.
v1::DatasetKind RowsOf(v1::Task task, const std::string& problem_type = "");

// `--input-template` and `--target-template`.
struct TemplateFlags {
  std::string input, target;

  // Must outlive the command line.
  void AddTo(CLI::App* command, const std::string& group);
  // Sets `text_template` of a job or an evaluation when one of the two was given.
  template <typename Message>
  void Fill(Message& message) const {
    if (!input.empty()) message.mutable_text_template()->set_input(input);
    if (!target.empty()) message.mutable_text_template()->set_target(target);
  }
};

// Prints the job that was made or, with `wait`, follows it to its end and prints that.
absl::Status FinishJob(Cli& cli, const AnyJob& created, bool wait);

}  // namespace tenon::cli
