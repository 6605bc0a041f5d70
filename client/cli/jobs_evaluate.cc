#include <memory>

#include "absl/strings/str_cat.h"
#include "client/cli/generation_flags.h"
#include "client/cli/job_submit.h"
#include "client/cli/jobs_create.h"
#include "client/cli/output.h"
#include "client/cli/set_option.h"
#include "common/formats/status.h"
#include "common/ids.h"

namespace tenon::cli {
namespace {

struct EvaluateFlags {
  std::string base, task = "sequence_classification", problem_type, data, collection, queries, qrels, id, request_id;
  std::vector<std::string> adapters, labels;
  std::vector<int> ks;
  TemplateFlags text_template;
  GenerationFlags generation;  // its max_input_tokens goes for classification, too
  int max_target_tokens = 0;
  int64_t max_rows = 0;
  bool no_stemmer = false;
  // Of answers.
  std::string threshold;
  int max_answer_tokens = 0, doc_stride = 0;
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

absl::Status FillRetrieval(Cli& cli, const EvaluateFlags& flags, v1::RetrievalEval& eval) {
  if (flags.collection.empty() || flags.queries.empty() || flags.qrels.empty()) {
    return TenonError(Reason::kFieldRequired, "Retrieval is measured with --collection, --queries and --qrels.",
                      "--collection");
  }
  eval.set_collection(flags.collection);
  for (const int k : flags.ks) eval.add_ks(k);
  ASSIGN_OR_RETURN(*eval.mutable_queries(), DatasetName(cli, flags.queries, "--queries"));
  ASSIGN_OR_RETURN(*eval.mutable_qrels(), DatasetName(cli, flags.qrels, "--qrels"));
  return absl::OkStatus();
}

absl::Status FillAnswers(const EvaluateFlags& flags, v1::AnswerOptions& options) {
  options.set_max_answer_tokens(flags.max_answer_tokens);
  options.set_doc_stride(flags.doc_stride);
  return flags.threshold.empty() ? absl::OkStatus() : SetOption("no_answer_threshold=" + flags.threshold, {&options});
}

absl::Status FillClassification(Cli& cli, const EvaluateFlags& flags, v1::Task task, v1::ClassificationEval& eval) {
  if (flags.adapters.empty() || flags.data.empty()) {
    return TenonError(Reason::kFieldRequired, "Classification is measured with --adapter and --data.",
                      flags.data.empty() ? "--data" : "--adapter");
  }
  if (task == v1::TASK_QUESTION_ANSWERING) {
    RETURN_IF_ERROR(FillAnswers(flags, *eval.mutable_answers()));
  } else if (!flags.threshold.empty() || flags.max_answer_tokens != 0 || flags.doc_stride != 0) {
    return TenonError(Reason::kFieldInvalid,
                      "--no-answer-threshold and options like it are for --task question_answering.",
                      "--no-answer-threshold");
  }
  for (const std::string& adapter : flags.adapters) {
    if (!flags.base.empty()) RETURN_IF_ERROR(CheckBase(cli, adapter, flags.base));
    eval.add_adapters(adapter);
  }
  eval.set_max_input_tokens(flags.generation.max_input_tokens);
  ASSIGN_OR_RETURN(*eval.mutable_dataset(), DatasetName(cli, flags.data, "--data", RowsOf(task, flags.problem_type)));
  return absl::OkStatus();
}

// The base alone, when it is named, then the adapters.
absl::Status FillSeq2Seq(Cli& cli, const EvaluateFlags& flags, v1::Seq2SeqEval& eval) {
  if ((flags.adapters.empty() && flags.base.empty()) || flags.data.empty()) {
    return TenonError(Reason::kFieldRequired, "Written texts are measured with --adapter or --base, and --data.",
                      flags.data.empty() ? "--data" : "--adapter");
  }
  if (!flags.base.empty()) eval.add_models("bases/" + ShortName(flags.base));
  for (const std::string& adapter : flags.adapters) eval.add_models(adapter);
  flags.text_template.Fill(eval);
  ASSIGN_OR_RETURN(*eval.mutable_generation(), ToConfig(flags.generation));
  eval.set_max_input_tokens(flags.generation.max_input_tokens);
  eval.set_max_target_tokens(flags.max_target_tokens);
  for (const std::string& label : flags.labels) eval.add_labels(label);
  eval.set_use_stemmer(!flags.no_stemmer);
  eval.set_max_rows(flags.max_rows);
  ASSIGN_OR_RETURN(*eval.mutable_dataset(), DatasetName(cli, flags.data, "--data", v1::DATASET_KIND_RECORDS));
  return absl::OkStatus();
}

// An option that does nothing for the task is a mistake: it is named.
absl::Status CheckTask(const EvaluateFlags& flags) {
  ASSIGN_OR_RETURN(const v1::GenerationConfig config, ToConfig(flags.generation));
  const char* foreign = config.ByteSizeLong() > 0                                                   ? "--max-new-tokens"
                        : !flags.text_template.input.empty() || !flags.text_template.target.empty() ? "--input-template"
                        : !flags.labels.empty()                                                     ? "--labels"
                        : flags.max_target_tokens != 0 ? "--max-target-tokens"
                        : flags.max_rows != 0          ? "--max-rows"
                        : flags.no_stemmer             ? "--no-stemmer"
                                                       : nullptr;
  if (foreign == nullptr) return absl::OkStatus();
  return TenonError(Reason::kFieldInvalid, absl::StrCat(foreign, " and options like it are for --task seq2seq."),
                    foreign);
}

absl::Status Evaluate(Cli& cli, const EvaluateFlags& flags) {
  v1::CreateEvalJobRequest request;
  request.set_eval_job_id(flags.id);
  request.set_request_id(flags.request_id);
  v1::EvalJob& job = *request.mutable_eval_job();
  ASSIGN_OR_RETURN(const v1::Task task, ParseWord<v1::Task>(flags.task, "--task"));
  if (task == v1::TASK_EXTRACTIVE_SUMMARIZATION) {
    return TenonError(
        Reason::kUnsupported,
        "Chosen sentences are not measured by `jobs evaluate`. `jobs finetune --validation` measures them: "
        "accuracy, F1 and loss of whether a sentence belongs to the summary.",
        "--task");
  }
  if (task == v1::TASK_SEQ2SEQ) {
    RETURN_IF_ERROR(FillSeq2Seq(cli, flags, *job.mutable_seq2seq()));
  } else {
    RETURN_IF_ERROR(CheckTask(flags));
    RETURN_IF_ERROR(task == v1::TASK_FEATURE_EXTRACTION
                        ? FillRetrieval(cli, flags, *job.mutable_retrieval())
                        : FillClassification(cli, flags, task, *job.mutable_classification()));
  }
  AnyJob created;
  created.is_eval = true;
  ASSIGN_OR_RETURN(created.eval,
                   cli.client().Call(cli.client().eval(), &v1::EvalService::Stub::CreateEvalJob, request));
  return FinishJob(cli, created, flags.wait);
}

}  // namespace

void AddEvaluate(CLI::App& jobs, Cli& cli) {
  auto flags = std::make_shared<EvaluateFlags>();
  CLI::App* command = AddCommand(
      jobs, cli, "evaluate",
      "Measure adapters on labelled rows, written texts on references, or a collection on judged queries",
      "tenon jobs evaluate --adapter tickets --task sequence_classification --data test.jsonl --wait\n"
      "  tenon jobs evaluate --task feature_extraction --collection faq --queries queries.jsonl --qrels "
      "qrels.tsv --wait\n"
      "  tenon jobs evaluate --task seq2seq --adapter talks --data test.jsonl --max-new-tokens 60 --num-beams 4 "
      "--wait\n"
      "  (loss, ROUGE and exact matches on the adapter's own template)\n"
      "  tenon jobs evaluate --task seq2seq --base flan --adapter moods --data test.jsonl --labels good,bad \\\n"
      "    --input-template 'Is this good or bad? {text}' --target-template '{label}' --max-new-tokens 4 --wait\n"
      "  (accuracy, with the base alone for comparison)\n"
      "  tenon jobs evaluate --task token_classification --adapter names --data names-test.jsonl --wait\n"
      "  (precision, recall and F1 of entities)",
      [&cli, flags] { return Evaluate(cli, *flags); });
  command->add_option("--base", flags->base,
                      "The adapters must belong to this base; with --task seq2seq it is measured, too");
  command->add_option("--adapter", flags->adapters, "Adapter or revision; any number of times, or as A,B")
      ->allow_extra_args(false)
      ->delimiter(',');
  command
      ->add_option("--task", flags->task,
                   "sequence_classification, token_classification, question_answering, seq2seq for written texts, or "
                   "feature_extraction for retrieval")
      ->capture_default_str();
  command->add_option("--data", flags->data, "Labelled rows, or rows of the templates' fields: file or data set");
  command
      ->add_option("--problem-type", flags->problem_type,
                   "regression: labels are numbers, as the adapters give them; told by the first row's label where it "
                   "has a fraction")
      ->check(CLI::IsMember({"regression", "single_label_classification", "multi_label_classification"}));
  command->add_option("--collection", flags->collection, "Collection to retrieve from");
  command->add_option("--queries", flags->queries, "Queries (id, text): file or data set");
  command->add_option("--qrels", flags->qrels, "Judgements (query-id, corpus-id, score): file or data set");
  command->add_option("--ks", flags->ks, "Cut-offs, as 1,10,100")->delimiter(',');
  const std::string group = "With --task seq2seq";
  flags->text_template.AddTo(command, group);
  command
      ->add_option("--labels", flags->labels,
                   "What a target may be, as good,bad: adds accuracy, F1, and how many texts were none of them")
      ->delimiter(',')
      ->group(group);
  command->add_option("--max-target-tokens", flags->max_target_tokens, "Tokens a target is cut to, for the loss; 128")
      ->group(group);
  command->add_option("--max-rows", flags->max_rows, "Only the first so many rows")->group(group);
  command->add_flag("--no-stemmer", flags->no_stemmer, "ROUGE on words as they are, not on their stems")->group(group);
  AddGenerationFlags(command, flags->generation, Outputs::kOne);
  const std::string answers = "With --task question_answering";
  command
      ->add_option("--no-answer-threshold", flags->threshold,
                   "There is no answer where its score is above the best answer's by more than this; 0 where rows "
                   "without answers are among the data")
      ->type_name("NUMBER")
      ->group(answers);
  command->add_option("--max-answer-tokens", flags->max_answer_tokens, "Tokens of the longest answer; 30 by default")
      ->group(answers);
  command->add_option("--doc-stride", flags->doc_stride, "Tokens that the windows of a long context share; 128")
      ->group(answers);
  command->add_option("--id", flags->id, "Id of the job; drawn when not given");
  command->add_option("--request-id", flags->request_id, "The same call twice with one request id makes one job");
  command->add_flag("--wait", flags->wait, "Follow the job to its end; exit code 0 only when it succeeded");
}

}  // namespace tenon::cli
