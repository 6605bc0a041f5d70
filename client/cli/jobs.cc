// tenon jobs list | get | watch | cancel
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/job_view.h"
#include "client/cli/jobs_create.h"
#include "client/cli/output.h"
#include "client/cli/progress.h"
#include "common/formats/status.h"

namespace tenon::cli {
namespace {

// One line of the list, and what it is sorted by.
struct Line {
  int64_t seconds;
  std::vector<std::string> cells;
};

template <typename Job>
Line ListLine(const Job& job, const std::string& what, const std::string& result) {
  std::string detail = result;
  if (job.state() == v1::JOB_STATE_QUEUED) detail = FormatQueue(job.queue());
  if (job.state() == v1::JOB_STATE_RUNNING) detail = FormatProgress(job.progress(), 10);
  if (job.state() == v1::JOB_STATE_FAILED) detail = job.error().message();
  return {job.create_time().seconds(),
          {job.name(), Word(job.state()), what, FormatTime(job.create_time()), Shorten(detail, 70)}};
}

std::string Accuracy(const google::protobuf::RepeatedPtrField<v1::Metric>& metrics) {
  return metrics.empty() ? "" : absl::StrCat(metrics[0].name(), " ", FormatScore(metrics[0].value()));
}

absl::Status ListJobs(Cli& cli) {
  v1::ListFinetuneJobsResponse finetunes;
  RETURN_IF_ERROR(client::ForEachPage<v1::ListFinetuneJobsResponse>(
      [&](const std::string& token) {
        v1::ListFinetuneJobsRequest request;
        request.set_page_size(1000);
        request.set_page_token(token);
        return cli.client().Call(cli.client().finetune(), &v1::FinetuneService::Stub::ListFinetuneJobs, request);
      },
      [&](const v1::ListFinetuneJobsResponse& page) {
        finetunes.mutable_finetune_jobs()->MergeFrom(page.finetune_jobs());
      }));
  v1::ListEvalJobsResponse evals;
  RETURN_IF_ERROR(client::ForEachPage<v1::ListEvalJobsResponse>(
      [&](const std::string& token) {
        v1::ListEvalJobsRequest request;
        request.set_page_size(1000);
        request.set_page_token(token);
        return cli.client().Call(cli.client().eval(), &v1::EvalService::Stub::ListEvalJobs, request);
      },
      [&](const v1::ListEvalJobsResponse& page) { evals.mutable_eval_jobs()->MergeFrom(page.eval_jobs()); }));
  if (cli.json()) {
    nlohmann::ordered_json both = ToJsonValue(finetunes);
    both["evalJobs"] = ToJsonValue(evals)["evalJobs"];
    both.erase("nextPageToken");
    Print(both.dump());
    return absl::OkStatus();
  }
  std::vector<Line> lines;
  for (const v1::FinetuneJob& job : finetunes.finetune_jobs()) {
    lines.push_back(ListLine(job, absl::StrCat(Word(job.method()), " → ", ShortName(job.adapter())),
                             Accuracy(job.result().best())));
  }
  for (const v1::EvalJob& job : evals.eval_jobs()) {
    const std::string what = job.has_retrieval() ? "retrieval " + ShortName(job.retrieval().collection())
                             : job.has_seq2seq() ? "written texts"
                                                 : "classification";
    lines.push_back(ListLine(job, what, job.results().empty() ? "" : Accuracy(job.results(0).metrics())));
  }
  std::stable_sort(lines.begin(), lines.end(), [](const Line& a, const Line& b) { return a.seconds > b.seconds; });
  Table table({"JOB", "STATE", "WHAT", "CREATED", "DETAIL"});
  for (Line& line : lines) table.Add(std::move(line.cells));
  Print(table.empty() ? "No jobs yet: `tenon jobs finetune --help`." : table.ToString());
  return absl::OkStatus();
}

absl::Status WatchJob(Cli& cli, const std::string& name) {
  ASSIGN_OR_RETURN(const AnyJob job, GetJob(cli, name));
  ASSIGN_OR_RETURN(const AnyJob ended, FollowJob(cli, job.name(), job.is_eval,
                                                 cli.json() ? WatchOutput::kJsonLines : WatchOutput::kProgress));
  if (cli.json()) return JobStatus(ended);
  return PrintJob(cli, ended);
}

absl::Status CancelJob(Cli& cli, const std::string& name) {
  ASSIGN_OR_RETURN(AnyJob job, GetJob(cli, name));
  if (job.is_eval) {
    v1::CancelEvalJobRequest request;
    request.set_name(job.name());
    ASSIGN_OR_RETURN(job.eval, cli.client().Call(cli.client().eval(), &v1::EvalService::Stub::CancelEvalJob, request));
  } else {
    v1::CancelFinetuneJobRequest request;
    request.set_name(job.name());
    ASSIGN_OR_RETURN(job.finetune, cli.client().Call(cli.client().finetune(),
                                                     &v1::FinetuneService::Stub::CancelFinetuneJob, request));
  }
  if (cli.json()) {
    Print(job.is_eval ? ToJson(job.eval) : ToJson(job.finetune));
  } else {
    Print(absl::StrCat(job.name(), ": ", Word(job.state()),
                       job.state() == v1::JOB_STATE_RUNNING ? ", asked to stop" : ""));
  }
  return absl::OkStatus();
}

}  // namespace

void AddJobs(CLI::App& app, Cli& cli) {
  CLI::App* jobs = AddNoun(app, "jobs", "Fine-tune adapters and evaluate them");
  AddFinetune(*jobs, cli);
  AddEvaluate(*jobs, cli);
  AddCommand(*jobs, cli, "list", "All jobs, newest first", "tenon jobs list", [&cli] { return ListJobs(cli); });
  const auto add = [&](const std::string& verb, const std::string& description,
                       absl::Status (*run)(Cli&, const std::string&)) {
    auto name = std::make_shared<std::string>();
    AddCommand(*jobs, cli, verb, description, "tenon jobs " + verb + " k3v9x0q2m1ab",
               [&cli, name, run] { return run(cli, *name); })
        ->add_option("ID", *name, "The job: its id, or finetuneJobs/ID, evalJobs/ID")
        ->required();
  };
  add(
      "get", "A job as it is now, with its results; exit code 0 unless it failed or was cancelled",
      +[](Cli& c, const std::string& name) -> absl::Status {
        ASSIGN_OR_RETURN(const AnyJob job, GetJob(c, name));
        return PrintJob(c, job);
      });
  add("watch", "Follow a job to its end, from its first event; a lost connection is taken up again", &WatchJob);
  add("cancel", "Ask a job to stop", &CancelJob);
}

}  // namespace tenon::cli
