// tenon datasets list | add | check | delete
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/upload_progress.h"
#include "client/uploads.h"

namespace tenon::cli {
namespace {

absl::Status ListDatasets(Cli& cli) {
  v1::ListDatasetsResponse all;
  RETURN_IF_ERROR(client::ForEachPage<v1::ListDatasetsResponse>(
      [&](const std::string& token) {
        v1::ListDatasetsRequest request;
        request.set_page_size(1000);
        request.set_page_token(token);
        return cli.client().Call(cli.client().datasets(), &v1::DatasetService::Stub::ListDatasets, request);
      },
      [&](const v1::ListDatasetsResponse& page) { all.mutable_datasets()->MergeFrom(page.datasets()); }));
  if (cli.json()) {
    Print(ToJson(all));
    return absl::OkStatus();
  }
  Table table({"DATA SET", "KIND", "ROWS", "SIZE", "LABELS OR FIELDS", "CREATED"});
  for (const v1::Dataset& dataset : all.datasets()) {
    table.Add({dataset.name(), Word(dataset.kind()), absl::StrCat(dataset.row_count()),
               FormatBytes(dataset.size_bytes()),
               Shorten(absl::StrJoin(dataset.labels().empty() ? dataset.fields() : dataset.labels(), ", "), 40),
               FormatTime(dataset.create_time())});
  }
  Print(table.empty() ? "No data sets yet: `tenon datasets add --help`." : table.ToString());
  return absl::OkStatus();
}

absl::Status PrintDataset(Cli& cli, const v1::Dataset& dataset) {
  if (cli.json()) {
    Print(ToJson(dataset));
    return absl::OkStatus();
  }
  Table facts({});
  if (!dataset.name().empty()) facts.Add({"data set", dataset.name()});
  facts.Add({"kind", absl::StrCat(Word(dataset.kind()), dataset.multi_label() ? ", several labels a row" : "")});
  facts.Add({"rows", absl::StrCat(dataset.row_count())});
  if (dataset.pair_count() > 0) facts.Add({"pairs", absl::StrCat(dataset.pair_count())});
  if (dataset.value_count() > 0) facts.Add({"numbers a row", absl::StrCat(dataset.value_count())});
  if (!dataset.fields().empty()) facts.Add({"fields", Shorten(absl::StrJoin(dataset.fields(), ", "), 100)});
  if (!dataset.labels().empty()) facts.Add({"labels", Shorten(absl::StrJoin(dataset.labels(), ", "), 100)});
  for (const std::string& warning : dataset.warnings()) facts.Add({"warning", warning});
  Print(facts.ToString());
  return absl::OkStatus();
}

struct Flags {
  std::string id, file, kind;
};

absl::Status Upload(Cli& cli, const Flags& flags, bool validate_only) {
  client::DatasetUpload upload = {.dataset_id = flags.id, .file = flags.file, .validate_only = validate_only};
  if (!flags.kind.empty()) {
    ASSIGN_OR_RETURN(upload.kind, ParseWord<v1::DatasetKind>(flags.kind, "--kind"));
  }
  UploadProgress progress(flags.file);
  ASSIGN_OR_RETURN(const v1::Dataset dataset, client::UploadDataset(cli.client(), upload, progress.callback()));
  return PrintDataset(cli, dataset);
}

absl::Status DeleteDataset(Cli& cli, const std::string& id) {
  v1::DeleteDatasetRequest request;
  request.set_name(id);
  RETURN_IF_ERROR(
      cli.client().Call(cli.client().datasets(), &v1::DatasetService::Stub::DeleteDataset, request).status());
  Print(cli.json() ? "{}" : absl::StrCat("Deleted data set ", ShortName(id), "."));
  return absl::OkStatus();
}

}  // namespace

void AddDatasets(CLI::App& app, Cli& cli) {
  CLI::App* datasets = AddNoun(app, "datasets", "Rows to train and evaluate on");
  AddCommand(*datasets, cli, "list", "All data sets", "tenon datasets list", [&cli] { return ListDatasets(cli); });
  auto add = std::make_shared<Flags>();
  CLI::App* command = AddCommand(
      *datasets, cli, "add", "Upload a file; all rows are checked, and one broken row refuses the file",
      "tenon datasets add tickets-train train.jsonl\n  (rows of {\"text\": \"...\", \"label\": \"billing\"})\n"
      "  tenon datasets add talks --kind records talks.jsonl\n"
      "  (rows of {\"dialogue\": \"...\", \"summary\": \"...\"}, whose names templates use)",
      [&cli, add] { return Upload(cli, *add, false); });
  const char* kinds =
      "classification, regression (labels are numbers), tags (words and tags), answers (question, context and "
      "answers), queries, qrels, or records (named texts); told by the first row";
  command->add_option("--kind", add->kind, kinds);
  command->add_option("NAME", add->id, "Id of the data set")->required();
  command->add_option("FILE", add->file, "JSON lines, or CSV or TSV with a header")
      ->required()
      ->check(CLI::ExistingFile);
  auto check = std::make_shared<Flags>();
  check->id = "check";
  command = AddCommand(*datasets, cli, "check", "Check a file as `add` would, and store nothing",
                       "tenon datasets check train.jsonl", [&cli, check] { return Upload(cli, *check, true); });
  command->add_option("--kind", check->kind, kinds);
  command->add_option("FILE", check->file, "JSON lines, or CSV or TSV with a header")
      ->required()
      ->check(CLI::ExistingFile);
  auto id = std::make_shared<std::string>();
  AddCommand(*datasets, cli, "delete", "Delete a data set", "tenon datasets delete tickets-train",
             [&cli, id] { return DeleteDataset(cli, *id); })
      ->add_option("NAME", *id, "Id of the data set")
      ->required();
}

}  // namespace tenon::cli
