#include "client/cli/job_view.h"

#include <unistd.h>

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/output.h"
#include "client/cli/progress.h"
#include "client/watch.h"
#include "common/formats/status.h"
#include "common/status_proto.h"

namespace tenon::cli {
namespace {

absl::StatusOr<v1::FinetuneJob> GetFinetune(Cli& cli, const std::string& name) {
  v1::GetFinetuneJobRequest request;
  request.set_name(name);
  return cli.client().Call(cli.client().finetune(), &v1::FinetuneService::Stub::GetFinetuneJob, request);
}

absl::StatusOr<v1::EvalJob> GetEval(Cli& cli, const std::string& name) {
  v1::GetEvalJobRequest request;
  request.set_name(name);
  return cli.client().Call(cli.client().eval(), &v1::EvalService::Stub::GetEvalJob, request);
}

// Metrics of several stages side by side.
std::string MetricTable(
    const std::vector<std::pair<std::string, const google::protobuf::RepeatedPtrField<v1::Metric>*>>& stages) {
  std::vector<std::string> header = {"METRIC"};
  std::vector<std::string> names;
  std::map<std::string, std::vector<std::string>> rows;
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    header.push_back(stages[stage].first);
    for (const v1::Metric& metric : *stages[stage].second) {
      auto [row, inserted] = rows.try_emplace(metric.name(), stages.size(), "-");
      if (inserted) names.push_back(metric.name());
      row->second[stage] = FormatScore(metric.value());
    }
  }
  if (names.empty()) return "";
  Table table(header);
  for (const std::string& name : names) {
    std::vector<std::string> row = {name};
    row.insert(row.end(), rows[name].begin(), rows[name].end());
    table.Add(std::move(row));
  }
  return table.ToString();
}

// Of one model, with the intervals that some metrics have.
std::string ResultTable(const v1::EvalResult& result) {
  if (result.intervals().empty()) return MetricTable({{"VALUE", &result.metrics()}});
  std::map<std::string, std::string> intervals;
  for (const auto& interval : result.intervals()) {
    intervals[interval.name()] = absl::StrCat(FormatScore(interval.low()), " to ", FormatScore(interval.high()));
  }
  Table table({"METRIC", "VALUE", "95 % INTERVAL"});
  for (const v1::Metric& metric : result.metrics()) {
    const auto interval = intervals.find(metric.name());
    table.Add({metric.name(), FormatScore(metric.value()), interval == intervals.end() ? "-" : interval->second});
  }
  return table.ToString();
}

void AddTemplate(const v1::TextTemplate& text_template, v1::Task task, Table& facts) {
  facts.Add({"reads", Shorten(text_template.input(), 200)});
  facts.Add({TargetWord(task), Shorten(text_template.target(), 200)});
}

std::string DescribeFinetune(const v1::FinetuneJob& job) {
  Table facts({});
  facts.Add({"job", job.name()});
  facts.Add({"state", Word(job.state())});
  facts.Add({"what", absl::StrCat(Word(job.method()), " for ", Word(job.task()), " on ", job.base(),
                                  job.method() == v1::METHOD_FULL ? ", makes " + job.adapter() : "")});
  facts.Add(
      {"data", absl::StrCat(job.train_dataset(),
                            job.validation_dataset().empty() ? "" : ", validated on " + job.validation_dataset())});
  if (job.has_text_template()) AddTemplate(job.text_template(), job.task(), facts);
  if (job.has_sentence_scorer()) {
    facts.Add({"context", absl::StrCat(job.sentence_scorer().neighbours(), " sentences on either side")});
  }
  if (job.state() == v1::JOB_STATE_QUEUED) facts.Add({"place", FormatQueue(job.queue())});
  if (job.state() == v1::JOB_STATE_RUNNING) facts.Add({"progress", FormatProgress(job.progress(), 20)});
  facts.Add({"seed", absl::StrCat(job.training().seed())});
  facts.Add({"created", FormatTime(job.create_time())});
  facts.Add({"started", FormatTime(job.start_time())});
  facts.Add({"finished", FormatTime(job.finish_time())});
  if (job.recoveries() > 0)
    facts.Add({"recoveries", absl::StrCat(job.recoveries(), ", last from step ", job.resumed_from_step())});
  if (!job.has_result()) return facts.ToString();
  const v1::FinetuneResult& result = job.result();
  if (result.has_base()) {
    facts.Add({"new base", result.base()});
  } else {
    facts.Add({"adapter", result.adapter_revision()});
  }
  facts.Add({"best step", absl::StrCat(result.best_step(), " of ", result.total_steps())});
  facts.Add({"parameters", absl::StrCat(result.trainable_parameters(), " trained")});
  facts.Add({"time", absl::StrFormat("%s training, %d tokens", FormatSeconds(result.train_seconds()),
                                     result.trained_tokens())});
  const std::string metrics = MetricTable(
      {{"UNTRAINED", &result.untrained()}, {"HEAD BASELINE", &result.head_baseline()}, {"BEST", &result.best()}});
  return facts.ToString() + (metrics.empty() ? "" : "\n" + metrics);
}

std::string DescribeResult(const v1::EvalResult& result) {
  std::string text =
      absl::StrCat("\n", result.model().adapter().empty() ? result.model().base() : result.model().adapter(), ": ",
                   result.examples(), " rows\n");
  absl::StrAppend(&text, ResultTable(result));
  if (result.classes().empty()) return text;
  Table classes({"LABEL", "PRECISION", "RECALL", "F1", "ROWS"});
  for (const auto& score : result.classes()) {
    classes.Add({score.label(), FormatScore(score.precision()), FormatScore(score.recall()), FormatScore(score.f1()),
                 absl::StrCat(score.support())});
  }
  absl::StrAppend(&text, "\n", classes.ToString());
  const int labels = result.classes_size();
  if (result.confusion_matrix_size() != labels * labels || labels > 20) return text;
  std::vector<std::string> header = {"TRUE \\ PREDICTED"};
  for (const auto& score : result.classes()) header.push_back(score.label());
  Table confusion(header);
  for (int row = 0; row < labels; ++row) {
    std::vector<std::string> cells = {result.classes(row).label()};
    for (int column = 0; column < labels; ++column)
      cells.push_back(absl::StrCat(result.confusion_matrix(row * labels + column)));
    confusion.Add(std::move(cells));
  }
  return absl::StrCat(text, "\n", confusion.ToString());
}

std::string DescribeEval(const v1::EvalJob& job) {
  Table facts({});
  facts.Add({"job", job.name()});
  facts.Add({"state", Word(job.state())});
  if (job.has_retrieval()) {
    facts.Add({"what", absl::StrCat("retrieval from ", job.retrieval().collection())});
    facts.Add({"data", absl::StrCat(job.retrieval().queries(), ", judged by ", job.retrieval().qrels())});
  } else if (job.has_seq2seq()) {
    facts.Add({"what", absl::StrCat("texts written by ", job.seq2seq().models_size(), " model(s)")});
    facts.Add({"data", job.seq2seq().dataset()});
    if (job.seq2seq().has_text_template()) AddTemplate(job.seq2seq().text_template(), v1::TASK_SEQ2SEQ, facts);
  } else {
    facts.Add({"what", absl::StrCat("classification by ", job.classification().adapters_size(), " adapter(s)")});
    facts.Add({"data", job.classification().dataset()});
  }
  if (job.state() == v1::JOB_STATE_QUEUED) facts.Add({"place", FormatQueue(job.queue())});
  if (job.state() == v1::JOB_STATE_RUNNING) facts.Add({"progress", FormatProgress(job.progress(), 20)});
  facts.Add({"created", FormatTime(job.create_time())});
  facts.Add({"started", FormatTime(job.start_time())});
  facts.Add({"finished", FormatTime(job.finish_time())});
  std::string text = facts.ToString();
  for (const v1::EvalResult& result : job.results()) text += DescribeResult(result);
  return text;
}

}  // namespace

absl::StatusOr<AnyJob> GetJob(Cli& cli, const std::string& name) {
  AnyJob job;
  if (!absl::StartsWith(name, "evalJobs/")) {
    absl::StatusOr<v1::FinetuneJob> finetune = GetFinetune(cli, name);
    if (finetune.ok()) {
      job.finetune = *std::move(finetune);
      return job;
    }
    if (!absl::IsNotFound(finetune.status()) || absl::StartsWith(name, "finetuneJobs/")) return finetune.status();
  }
  absl::StatusOr<v1::EvalJob> eval = GetEval(cli, name);
  if (absl::IsNotFound(eval.status()) && name.find('/') == std::string::npos) {
    return TenonError(Reason::kNotFound, absl::StrCat("There is no job '", name, "'."), "name");
  }
  if (!eval.ok()) return eval.status();
  job.is_eval = true;
  job.eval = *std::move(eval);
  return job;
}

absl::StatusOr<AnyJob> FollowJob(Cli& cli, const std::string& name, bool is_eval, WatchOutput output) {
  ProgressView view(stderr, isatty(STDERR_FILENO) != 0);
  const bool json_lines = output == WatchOutput::kJsonLines;
  const auto show = [&](const auto& update, const auto& job, bool has_job) {
    if (json_lines) return Print(ToJson(update));
    if (update.has_event()) view.Show(update.event());
    if (has_job) view.Show(job.state(), job.progress(), job.queue());
  };
  client::WatchOptions options;
  options.on_lost = [&](const absl::Status& status) {
    view.Line(absl::StrCat("Lost the server, trying again: ", std::string(status.message())));
  };
  AnyJob followed;
  followed.is_eval = is_eval;
  if (is_eval) {
    ASSIGN_OR_RETURN(followed.eval, client::WatchEvalJob(
                                        cli.client(), name,
                                        [&](const v1::WatchEvalJobResponse& update) {
                                          show(update, update.eval_job(), update.has_eval_job());
                                        },
                                        options));
  } else {
    ASSIGN_OR_RETURN(followed.finetune, client::WatchFinetuneJob(
                                            cli.client(), name,
                                            [&](const v1::WatchFinetuneJobResponse& update) {
                                              show(update, update.finetune_job(), update.has_finetune_job());
                                            },
                                            options));
  }
  return followed;
}

absl::Status JobStatus(const AnyJob& job) {
  if (job.state() == v1::JOB_STATE_CANCELLED) return absl::AbortedError(absl::StrCat(job.name(), " was cancelled."));
  if (job.state() != v1::JOB_STATE_FAILED) return absl::OkStatus();
  const google::rpc::Status& error = job.is_eval ? job.eval.error() : job.finetune.error();
  const absl::Status status = FromGrpcStatus(
      grpc::Status(static_cast<grpc::StatusCode>(error.code()), error.message(), error.SerializeAsString()));
  return status.ok() ? absl::InternalError(absl::StrCat(job.name(), " failed."))
                     : Annotate(status, job.name() + " failed: ");
}

std::string DescribeJob(const AnyJob& job) {
  return job.is_eval ? DescribeEval(job.eval) : DescribeFinetune(job.finetune);
}

const char* TargetWord(v1::Task task) { return task == v1::TASK_EXTRACTIVE_SUMMARIZATION ? "summary" : "writes"; }

absl::Status PrintJob(Cli& cli, const AnyJob& job) {
  if (cli.json()) {
    Print(job.is_eval ? ToJson(job.eval) : ToJson(job.finetune));
  } else {
    Print(DescribeJob(job));
  }
  return JobStatus(job);
}

}  // namespace tenon::cli
