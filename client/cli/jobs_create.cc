#include "client/cli/jobs_create.h"

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/job_view.h"
#include "client/cli/output.h"
#include "client/cli/set_option.h"
#include "client/uploads.h"
#include "common/formats/status.h"
#include "common/ids.h"

namespace tenon::cli {
namespace {

// A data set by id, or a file that is uploaded unless the server has its bytes already.
absl::StatusOr<std::string> DatasetName(Cli& cli, const std::string& given, const std::string& option) {
  std::error_code unreadable;  // what cannot be looked at is no file of ours
  if (std::filesystem::is_regular_file(given, unreadable)) {
    ASSIGN_OR_RETURN(const v1::Dataset dataset, client::EnsureDataset(cli.client(), given));
    PrintNote(absl::StrCat(given, ": ", dataset.row_count(), " rows, ", dataset.name()));
    for (const std::string& warning : dataset.warnings()) PrintNote(absl::StrCat("  warning: ", warning));
    return dataset.name();
  }
  if (ParseName("datasets", given, option).ok()) return given;
  return TenonError(Reason::kNotFound, absl::StrCat("'", given, "' is neither a file nor the id of a data set."),
                    option);
}

absl::Status Finish(Cli& cli, const AnyJob& created, bool wait) {
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

struct FinetuneFlags {
  std::string base, adapter, task, method, train, validation, id, request_id;
  std::vector<std::string> set;
  bool wait = false;
  bool check = false;
};

absl::Status Finetune(Cli& cli, const FinetuneFlags& flags) {
  v1::CreateFinetuneJobRequest request;
  request.set_finetune_job_id(flags.id);
  request.set_request_id(flags.request_id);
  request.set_validate_only(flags.check);
  v1::FinetuneJob& job = *request.mutable_finetune_job();
  job.set_base(flags.base);
  job.set_adapter(flags.adapter);
  ASSIGN_OR_RETURN(const v1::Task task, ParseWord<v1::Task>(flags.task, "--task"));
  job.set_task(task);
  ASSIGN_OR_RETURN(const v1::Method method, ParseWord<v1::Method>(flags.method, "--method"));
  job.set_method(method);
  // Options of another method are unknown ones here, so that none is set in vain.
  std::vector<google::protobuf::Message*> options = {job.mutable_training()};
  if (method == v1::METHOD_LORA) options.push_back(job.mutable_lora());
  if (method == v1::METHOD_PROMPT_TUNING) options.push_back(job.mutable_prompt_tuning());
  if (method == v1::METHOD_BOTTLENECK) options.push_back(job.mutable_bottleneck());
  for (const std::string& assignment : flags.set) RETURN_IF_ERROR(SetOption(assignment, options));
  ASSIGN_OR_RETURN(*job.mutable_train_dataset(), DatasetName(cli, flags.train, "--train"));
  if (!flags.validation.empty()) {
    ASSIGN_OR_RETURN(*job.mutable_validation_dataset(), DatasetName(cli, flags.validation, "--validation"));
  }
  AnyJob created;
  ASSIGN_OR_RETURN(created.finetune,
                   cli.client().Call(cli.client().finetune(), &v1::FinetuneService::Stub::CreateFinetuneJob, request));
  if (flags.check) {
    if (cli.json()) return PrintJob(cli, created);
    Print("The job is valid; nothing was stored.");
    return absl::OkStatus();
  }
  return Finish(cli, created, flags.wait);
}

struct EvaluateFlags {
  std::string base, task = "sequence_classification", data, collection, queries, qrels, id, request_id;
  std::vector<std::string> adapters;
  std::vector<int> ks;
  int max_input_tokens = 0;
  bool wait = false;
};

// An adapter knows its base; when the caller names one too, they must agree.
absl::Status CheckBase(Cli& cli, const std::string& adapter_name, const std::string& base) {
  ASSIGN_OR_RETURN(const AdapterName parsed, ParseAdapterName(adapter_name, "--adapter"));
  v1::GetAdapterRequest request;
  request.set_name("adapters/" + parsed.id);
  ASSIGN_OR_RETURN(const v1::Adapter adapter,
                   cli.client().Call(cli.client().catalog(), &v1::CatalogService::Stub::GetAdapter, request));
  if (ShortName(adapter.base()) == ShortName(base)) return absl::OkStatus();
  return TenonError(
      Reason::kBaseMismatch,
      absl::StrCat(adapter.name(), " belongs to ", adapter.base(), ", not to bases/", ShortName(base), "."),
      "--adapter");
}

absl::Status Evaluate(Cli& cli, const EvaluateFlags& flags) {
  v1::CreateEvalJobRequest request;
  request.set_eval_job_id(flags.id);
  request.set_request_id(flags.request_id);
  ASSIGN_OR_RETURN(const v1::Task task, ParseWord<v1::Task>(flags.task, "--task"));
  if (task == v1::TASK_FEATURE_EXTRACTION) {
    if (flags.collection.empty() || flags.queries.empty() || flags.qrels.empty()) {
      return TenonError(Reason::kFieldRequired, "Retrieval is measured with --collection, --queries and --qrels.",
                        "--collection");
    }
    v1::RetrievalEval& eval = *request.mutable_eval_job()->mutable_retrieval();
    eval.set_collection(flags.collection);
    for (const int k : flags.ks) eval.add_ks(k);
    ASSIGN_OR_RETURN(*eval.mutable_queries(), DatasetName(cli, flags.queries, "--queries"));
    ASSIGN_OR_RETURN(*eval.mutable_qrels(), DatasetName(cli, flags.qrels, "--qrels"));
  } else {
    if (flags.adapters.empty() || flags.data.empty()) {
      return TenonError(Reason::kFieldRequired, "Classification is measured with --adapter and --data.",
                        flags.data.empty() ? "--data" : "--adapter");
    }
    v1::ClassificationEval& eval = *request.mutable_eval_job()->mutable_classification();
    for (const std::string& adapter : flags.adapters) {
      if (!flags.base.empty()) RETURN_IF_ERROR(CheckBase(cli, adapter, flags.base));
      eval.add_adapters(adapter);
    }
    eval.set_max_input_tokens(flags.max_input_tokens);
    ASSIGN_OR_RETURN(*eval.mutable_dataset(), DatasetName(cli, flags.data, "--data"));
  }
  AnyJob created;
  created.is_eval = true;
  ASSIGN_OR_RETURN(created.eval,
                   cli.client().Call(cli.client().eval(), &v1::EvalService::Stub::CreateEvalJob, request));
  return Finish(cli, created, flags.wait);
}

}  // namespace

void AddFinetune(CLI::App& jobs, Cli& cli) {
  auto flags = std::make_shared<FinetuneFlags>();
  CLI::App* command =
      AddCommand(jobs, cli, "finetune", "Train an adapter on a frozen base, or a base of its own",
                 "tenon jobs finetune --base minilm --adapter tickets --task sequence_classification --method lora \\\n"
                 "    --train train.jsonl --validation validation.jsonl --set learning_rate=1e-3 --set r=8 --wait",
                 [&cli, flags] { return Finetune(cli, *flags); });
  const std::vector<std::string> keys =
      OptionKeys({&v1::TrainingOptions::default_instance(), &v1::LoraOptions::default_instance(),
                  &v1::PromptTuningOptions::default_instance(), &v1::BottleneckOptions::default_instance()});
  command->add_option("--base", flags->base, "Base model, as in `tenon bases list`")->required();
  command
      ->add_option("--adapter", flags->adapter,
                   "Adapter that gets the new revision; made when it is not there. With full, the new base")
      ->required();
  command->add_option("--task", flags->task, "sequence_classification")->required();
  command
      ->add_option(
          "--method", flags->method,
          "lora, prompt_tuning, bottleneck, head (a linear probe: seconds), or full (all weights: makes a base)")
      ->required();
  command->add_option("--train", flags->train, "A file (.jsonl, .csv, .tsv) of text and label, or a data set's id")
      ->required();
  command->add_option("--validation", flags->validation, "Rows that choose the best checkpoint: file or data set");
  command->add_option("--set", flags->set, "key=value, any number of times: " + absl::StrJoin(keys, ", "))
      ->allow_extra_args(false);
  command->add_option("--id", flags->id, "Id of the job; drawn when not given");
  command->add_option("--request-id", flags->request_id, "The same call twice with one request id makes one job");
  command->add_flag("--check", flags->check, "Check the job and its data; start nothing");
  command->add_flag("--wait", flags->wait, "Follow the job to its end; exit code 0 only when it succeeded");
}

void AddEvaluate(CLI::App& jobs, Cli& cli) {
  auto flags = std::make_shared<EvaluateFlags>();
  CLI::App* command =
      AddCommand(jobs, cli, "evaluate", "Measure adapters on labelled rows, or a collection on judged queries",
                 "tenon jobs evaluate --adapter tickets --task sequence_classification --data test.jsonl --wait\n"
                 "  tenon jobs evaluate --task feature_extraction --collection faq --queries queries.jsonl --qrels "
                 "qrels.tsv --wait",
                 [&cli, flags] { return Evaluate(cli, *flags); });
  command->add_option("--base", flags->base, "The adapters must belong to this base");
  command->add_option("--adapter", flags->adapters, "Adapter or revision; any number of times")
      ->allow_extra_args(false);
  command->add_option("--task", flags->task, "sequence_classification, or feature_extraction for retrieval")
      ->capture_default_str();
  command->add_option("--data", flags->data, "Labelled rows: file or data set");
  command->add_option("--collection", flags->collection, "Collection to retrieve from");
  command->add_option("--queries", flags->queries, "Queries (id, text): file or data set");
  command->add_option("--qrels", flags->qrels, "Judgements (query-id, corpus-id, score): file or data set");
  command->add_option("--ks", flags->ks, "Cut-offs, as 1,10,100")->delimiter(',');
  command->add_option("--max-input-tokens", flags->max_input_tokens, "Tokens a text is cut to");
  command->add_option("--id", flags->id, "Id of the job; drawn when not given");
  command->add_option("--request-id", flags->request_id, "The same call twice with one request id makes one job");
  command->add_flag("--wait", flags->wait, "Follow the job to its end; exit code 0 only when it succeeded");
}

}  // namespace tenon::cli
