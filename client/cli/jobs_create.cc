#include "client/cli/jobs_create.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/job_submit.h"
#include "client/cli/job_view.h"
#include "client/cli/output.h"
#include "client/cli/set_option.h"
#include "common/formats/status.h"
#include "common/tuning_options.h"

namespace tenon::cli {
namespace {

struct FinetuneFlags {
  std::string base, adapter, task, method, train, validation, id, request_id;
  TemplateFlags text_template;
  std::vector<std::string> set;
  bool wait = false;
  bool check = false;
  bool preview = false;
};

// Rows as the model will see them.
std::string DescribePreview(const v1::FinetuneJob& job) {
  std::string text;
  for (int i = 0; i < job.preview_size(); ++i) {
    absl::StrAppend(&text, "row ", i + 1, "\n  reads:  ", Shorten(job.preview(i).input(), 1000), "\n  ",
                    TargetWord(job.task()), ": ", Shorten(job.preview(i).target(), 1000), "\n");
  }
  return text.empty() ? "The rows are too long to be shown.\n" : text;
}

absl::Status Finetune(Cli& cli, const FinetuneFlags& flags) {
  v1::CreateFinetuneJobRequest request;
  request.set_finetune_job_id(flags.id);
  request.set_request_id(flags.request_id);
  request.set_validate_only(flags.check || flags.preview);
  v1::FinetuneJob& job = *request.mutable_finetune_job();
  job.set_base(flags.base);
  job.set_adapter(flags.adapter);
  ASSIGN_OR_RETURN(const v1::Task task, ParseWord<v1::Task>(flags.task, "--task"));
  job.set_task(task);
  ASSIGN_OR_RETURN(const v1::Method method, ParseWord<v1::Method>(flags.method, "--method"));
  job.set_method(method);
  if (flags.preview && !TakesTemplate(task)) {
    return TenonError(Reason::kFieldInvalid,
                      "--preview shows what templates make of rows: it is for --task seq2seq and extractive.",
                      "--preview");
  }
  flags.text_template.Fill(job);
  // Options of another method or task are unknown ones here, so that none is set in vain.
  std::vector<google::protobuf::Message*> options = {job.mutable_training()};
  if (method == v1::METHOD_LORA) options.push_back(job.mutable_lora());
  if (method == v1::METHOD_PROMPT_TUNING) options.push_back(job.mutable_prompt_tuning());
  if (method == v1::METHOD_BOTTLENECK) options.push_back(job.mutable_bottleneck());
  if (task == v1::TASK_EXTRACTIVE_SUMMARIZATION) options.push_back(job.mutable_sentence_scorer());
  if (task == v1::TASK_TOKEN_CLASSIFICATION) options.push_back(job.mutable_token_classification());
  if (task == v1::TASK_QUESTION_ANSWERING) options.push_back(job.mutable_question_answering());
  for (const std::string& assignment : flags.set) RETURN_IF_ERROR(SetOption(assignment, options));
  const v1::DatasetKind kind = RowsOf(task, job.training().problem_type());
  ASSIGN_OR_RETURN(*job.mutable_train_dataset(), DatasetName(cli, flags.train, "--train", kind));
  if (!flags.validation.empty()) {
    ASSIGN_OR_RETURN(*job.mutable_validation_dataset(), DatasetName(cli, flags.validation, "--validation", kind));
  }
  AnyJob created;
  ASSIGN_OR_RETURN(created.finetune,
                   cli.client().Call(cli.client().finetune(), &v1::FinetuneService::Stub::CreateFinetuneJob, request));
  if (flags.check || flags.preview) {
    if (cli.json()) return PrintJob(cli, created);
    Print(flags.preview ? DescribePreview(created.finetune) : "The job is valid; nothing was stored.");
    return absl::OkStatus();
  }
  if (created.finetune.preview_size() > 0) {
    const v1::TemplatedRow& first = created.finetune.preview(0);
    PrintNote(absl::StrCat("Row 1 reads: ", Shorten(first.input(), 200)));
    PrintNote(absl::StrCat("     ", TargetWord(task), ": ", Shorten(first.target(), 200)));
  }
  return FinishJob(cli, created, flags.wait);
}

}  // namespace

void AddFinetune(CLI::App& jobs, Cli& cli) {
  auto flags = std::make_shared<FinetuneFlags>();
  CLI::App* command = AddCommand(
      jobs, cli, "finetune", "Train an adapter on a frozen base, or a base of its own",
      "tenon jobs finetune --base minilm --adapter tickets --task sequence_classification --method lora \\\n"
      "    --train train.jsonl --validation validation.jsonl --set learning_rate=1e-3 --set r=8 --wait\n"
      "  tenon jobs finetune --base minilm --adapter likeness --task sequence_classification --method lora \\\n"
      "    --train pairs.csv --set problem_type=regression --wait\n"
      "  (rows of text, text_pair and label, a number; text_pair makes pairs of classes, too)\n"
      "  tenon jobs finetune --base flan --adapter talks --task seq2seq --method lora --train talks.jsonl \\\n"
      "    --input-template 'summarize: {dialogue}' --target-template '{summary}' --preview\n"
      "  (shows the first rows as the model will see them; without --preview it trains on them)\n"
      "  tenon jobs finetune --base minilm --adapter minutes --task extractive --method lora --train talks.jsonl \\\n"
      "    --input-template '{dialogue}' --target-template '{summary}' --set neighbours=2 --wait\n"
      "  (learns which sentences of a text its summary is made of; then: tenon summarize --adapter minutes)\n"
      "  tenon jobs finetune --base minilm --adapter names --task token_classification --method lora \\\n"
      "    --train names.jsonl --validation names-test.jsonl --set crf=true --wait\n"
      "  (rows of {\"words\": [...], \"tags\": [\"O\", \"B-PER\", ...]}; then: tenon tag --adapter names)\n"
      "  tenon jobs finetune --base minilm --adapter handbook --task question_answering --method lora \\\n"
      "    --train questions.jsonl --set max_input_tokens=256 --set doc_stride=64 --wait\n"
      "  (rows of question, context and answers, as in SQuAD; then: tenon answer --adapter handbook)",
      [&cli, flags] { return Finetune(cli, *flags); });
  const std::vector<std::string> keys =
      OptionKeys({&v1::TrainingOptions::default_instance(), &v1::LoraOptions::default_instance(),
                  &v1::PromptTuningOptions::default_instance(), &v1::BottleneckOptions::default_instance(),
                  &v1::SentenceScorerOptions::default_instance(), &v1::TokenClassificationOptions::default_instance(),
                  &v1::QuestionAnsweringOptions::default_instance()});
  command->add_option("--base", flags->base, "Base model, as in `tenon bases list`")->required();
  command
      ->add_option("--adapter", flags->adapter,
                   "Adapter that gets the new revision; made when it is not there. With full, the new base")
      ->required();
  command
      ->add_option("--task", flags->task,
                   "sequence_classification, token_classification (tags of words), question_answering (where a context "
                   "has the answer), seq2seq (texts that a base that generates shall write), or extractive (which "
                   "sentences of a text an encoder shall choose for its summary)")
      ->required();
  command
      ->add_option(
          "--method", flags->method,
          "lora, prompt_tuning, bottleneck, head (a linear probe: seconds), or full (all weights: makes a base)")
      ->required();
  command
      ->add_option(
          "--train", flags->train,
          "A file (.jsonl, .csv, .tsv) of text, perhaps text_pair, and label, of words and tags, of question, context "
          "and answers, or of the templates' fields; or a data set's id")
      ->required();
  command->add_option("--validation", flags->validation, "Rows that choose the best checkpoint: file or data set");
  const std::string group = "With --task seq2seq or extractive";
  flags->text_template.AddTo(command, group);
  command->add_flag("--preview", flags->preview, "Show the first rows as the templates make them; start nothing")
      ->group(group);
  command->add_option("--set", flags->set, "key=value, any number of times: " + absl::StrJoin(keys, ", "))
      ->allow_extra_args(false);
  command->add_option("--id", flags->id, "Id of the job; drawn when not given");
  command->add_option("--request-id", flags->request_id, "The same call twice with one request id makes one job");
  command->add_flag("--check", flags->check, "Check the job and its data; start nothing");
  command->add_flag("--wait", flags->wait, "Follow the job to its end; exit code 0 only when it succeeded");
}

}  // namespace tenon::cli
