// What workers say about jobs: fenced by term, durable before it is answered.
#include <utility>

#include "common/formats/status.h"
#include "server/app/catalog_requests.h"
#include "server/app/job_records.h"
#include "server/app/job_scheduler_impl.h"
#include "server/catalog/records.h"
#include "server/jobs/finetune_request.h"

namespace tenon::server {
namespace {

// Where a report of a finished run refers to files.
const google::protobuf::RepeatedPtrField<v1::FileEntry>& FilesOf(const internal::v1::ReportJobRequest& report) {
  return report.has_checkpoint() ? report.checkpoint().files() : report.finetune_success().files();
}

// Id of the adapter or base that the job makes.
std::string MadeId(const JobRecord& record) {
  const std::string& name = record.finetune().adapter();
  return name.substr(name.find('/') + 1);
}

std::vector<std::string> LabelsOf(const JobRecord& record, const internal::v1::FinetuneOutcome& outcome) {
  const auto& labels = outcome.labels().empty() ? record.finetune().labels() : outcome.labels();
  return {labels.begin(), labels.end()};
}

// The base that a success made, in the transaction of the success.
absl::Status KeepBase(Transaction& transaction, JobRecord& record, const internal::v1::FinetuneOutcome& outcome,
                      absl::Time now) {
  const v1::FinetuneJob& job = record.finetune();
  NewBase base;
  base.id = MadeId(record);
  base.made_of = job.base().substr(job.base().find('/') + 1);
  base.task = job.task();
  base.labels = LabelsOf(record, outcome);
  base.multi_label = job.training().multi_label();
  base.regression = job.training().problem_type() == "regression";
  base.files.assign(outcome.files().begin(), outcome.files().end());
  ASSIGN_OR_RETURN(const std::string name, PutBase(transaction, record.tenant(), base, now));
  SetBase(record, name);
  return absl::OkStatus();
}

// The adapter's new revision, likewise.
absl::Status KeepRevision(Transaction& transaction, JobRecord& record, const internal::v1::FinetuneOutcome& outcome,
                          const std::string& digest, absl::Time now) {
  const v1::FinetuneJob& job = record.finetune();
  NewRevision revision;
  revision.adapter_id = MadeId(record);
  revision.base = job.base();
  revision.base_digest = record.base_digest();
  revision.task = job.task();
  revision.method = job.method();
  revision.labels = LabelsOf(record, outcome);
  revision.multi_label = job.training().multi_label();
  revision.regression = job.training().problem_type() == "regression";
  revision.files.assign(outcome.files().begin(), outcome.files().end());
  // What a writer's texts stand in; a scorer of sentences is given texts as they are.
  if (job.task() == v1::TASK_SEQ2SEQ && job.has_text_template()) revision.text_template = job.text_template();
  revision.job = job.name();
  revision.digest = digest;
  ASSIGN_OR_RETURN(const std::string name, PutRevision(transaction, record.tenant(), revision, now));
  SetAdapterRevision(record, name);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<JobKey> JobSchedulerImpl::FindReported(const internal::v1::ReportJobRequest& report) {
  if (const auto key = board_.FindRunning(report.job(), report.term(), report.session()); key.has_value()) return *key;
  // A last report that comes again finds its job final, or even this server restarted.
  std::vector<JobRecord> named;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(named, LoadJobsNamed(snapshot, report.job()));
    return absl::OkStatus();
  }));
  for (const JobRecord& job : named) {
    if (JobTerm(job) == report.term() && job.session() == report.session()) return JobKey{job.tenant(), report.job()};
  }
  return TenonError(Reason::kStaleTerm, report.job() + " is no longer run under term " + std::to_string(report.term()));
}

absl::Status JobSchedulerImpl::CheckTerm(const std::string& job, int64_t term) {
  if (board_.FindRunning(job, term, "").has_value()) return absl::OkStatus();
  return TenonError(Reason::kStaleTerm, job + " is no longer run under term " + std::to_string(term));
}

void JobSchedulerImpl::TellProgress(const JobKey& key) {
  if (watchers_.NotifyProgress(key, Now(), options_.watch_interval) != JobWatchers::Pace::kLater) return;
  PostAfter(options_.watch_interval, [this, key] { watchers_.NotifyLater(key, Now()); });
}

absl::Status JobSchedulerImpl::CheckFiles(const google::protobuf::RepeatedPtrField<v1::FileEntry>& files) {
  for (const v1::FileEntry& file : files) {
    KeepBlob(file.sha256());
    const absl::StatusOr<int64_t> size = parts_.blobs->Size(file.sha256());
    if (!size.ok()) return Annotate(size.status(), "file " + file.path() + " was not published: ");
    if (*size == file.size_bytes()) continue;
    return TenonError(
        Reason::kDigestMismatch,
        "file " + file.path() + " has " + std::to_string(*size) + " bytes, not " + std::to_string(file.size_bytes()),
        file.path());
  }
  return absl::OkStatus();
}

absl::Status JobSchedulerImpl::Report(const internal::v1::ReportJobRequest& report) {
  ASSIGN_OR_RETURN(const JobKey key, FindReported(report));
  if (report.has_progress()) {
    const auto run = board_.Running(key);
    if (!run.has_value() || run->term != report.term()) {
      return TenonError(Reason::kStaleTerm, report.job() + " is no longer run under this term");
    }
    const bool same_phase = board_.SetProgress(key, report.term(), report.progress());
    if (same_phase) {
      TellProgress(key);
      return absl::OkStatus();
    }
  }
  return ReportDurable(key, report);
}

absl::Status JobSchedulerImpl::ReportDurable(const JobKey& key, const internal::v1::ReportJobRequest& report) {
  const bool success = report.has_finetune_success();
  std::string digest;  // of the files as an adapter's
  if (success || report.has_checkpoint()) RETURN_IF_ERROR(CheckFiles(FilesOf(report)));
  if (success) {
    const auto& files = report.finetune_success().files();
    ASSIGN_OR_RETURN(digest, RevisionDigest(*parts_.blobs, {files.begin(), files.end()}));
  }

  JobRecord record;
  const auto body = [&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(record, LoadJob(transaction, key.tenant, key.name));
    const bool makes_base = success && MakesBase(record.finetune());
    // Somebody may have added a base of this name since the job was made.
    const absl::Status free = makes_base
                                  ? CheckFree(transaction, key.tenant, kBaseKind, MadeId(record), "base", "adapter")
                                  : absl::OkStatus();
    if (!free.ok() && !absl::IsAlreadyExists(free)) return free;
    ASSIGN_OR_RETURN(const JobEvents events,
                     free.ok()
                         ? ApplyReport(record, report, Now())
                         : RefuseSuccess(record, report, Annotate(free, "what was trained is not kept: "), Now()));
    if (events.empty() && !report.has_metrics()) return absl::OkStatus();
    if (success && free.ok()) {
      const internal::v1::FinetuneOutcome& outcome = report.finetune_success();
      RETURN_IF_ERROR(makes_base ? KeepBase(transaction, record, outcome, Now())
                                 : KeepRevision(transaction, record, outcome, digest, Now()));
    }
    return SaveJob(transaction, record, events, report.term());
  };
  RETURN_IF_ERROR(parts_.store->Write(body));

  // Nobody asked it to stop: it is going down, and would not even answer to another assignment.
  if (report.has_stopped() && !record.cancel_requested()) board_.RetireWorker(report.session());
  absl::Status indexed;
  if (success) {
    // Before watchers hear of it: they may use the adapter at once. Also for a report that came again: the first may
    // have been committed without reaching this line.
    if (MakesBase(record.finetune())) {
      indexed = parts_.models->RefreshBase(*parts_.store, key.tenant, MadeId(record));
      if (parts_.bases_changed) parts_.bases_changed();
    } else {
      indexed = parts_.models->RefreshAdapter(*parts_.store, key.tenant, MadeId(record));
    }
  }
  if (success && JobStateOf(record) == v1::JOB_STATE_FAILED) {
    // The files of a success that was refused: nothing else may name them.
    std::vector<std::string> files;
    for (const v1::FileEntry& file : report.finetune_success().files()) files.push_back(file.sha256());
    cleaner_.Drop(files, Now());
  }
  Follow(record);
  RETURN_IF_ERROR(indexed);
  // Its worker may be free now.
  Post([this] { Pump(); });
  return absl::OkStatus();
}

}  // namespace tenon::server
