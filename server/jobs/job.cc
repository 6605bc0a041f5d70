#include "server/jobs/job.h"

#include <utility>

#include "common/digest.h"
#include "common/formats/status.h"
#include "common/status_proto.h"

namespace tenon::server {
namespace {

// Calls `function` with whichever resource the record holds.
template <typename Function>
auto Visit(JobRecord& job, Function function) {
  return job.has_eval() ? function(*job.mutable_eval()) : function(*job.mutable_finetune());
}
template <typename Function>
auto Visit(const JobRecord& job, Function function) {
  return job.has_eval() ? function(job.eval()) : function(job.finetune());
}

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  const int64_t nanos = absl::ToUnixNanos(time);
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(nanos / 1'000'000'000);
  timestamp.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
  return timestamp;
}

v1::JobEvent NewEvent(absl::Time now) {
  v1::JobEvent event;
  *event.mutable_time() = ToTimestamp(now);
  return event;
}

// The one place where state or phase change.
v1::JobEvent Move(JobRecord& job, v1::JobState state, v1::JobPhase phase, const std::string& reason, absl::Time now) {
  Visit(job, [&](auto& resource) {
    resource.set_state(state);
    if (phase == v1::JOB_PHASE_UNSPECIFIED) {
      resource.mutable_progress()->clear_phase();
    } else {
      resource.mutable_progress()->set_phase(phase);
    }
    if (IsFinal(state)) *resource.mutable_finish_time() = ToTimestamp(now);
  });
  job.set_version(job.version() + 1);
  v1::JobEvent event = NewEvent(now);
  auto& change = *event.mutable_state_change();
  change.set_state(state);
  change.set_phase(phase);
  change.set_reason(reason);
  return event;
}

absl::Status Illegal(const JobRecord& job, const std::string& what) {
  return TenonError(Reason::kInternal, "a job in " + v1::JobState_Name(JobStateOf(job)) + " cannot be " + what);
}

void SetError(JobRecord& job, const absl::Status& error) {
  const google::rpc::Status status = ToRpcStatus(error);
  Visit(job, [&](auto& resource) { *resource.mutable_error() = status; });
}

std::string ReportDigest(const internal::v1::ReportJobRequest& report) {
  internal::v1::ReportJobRequest body = report;
  body.clear_session();  // a retry may come over a new session
  return Sha256Hex(body.SerializeAsString());
}

absl::StatusOr<JobEvents> ApplyMetrics(JobRecord& job, const v1::JobEvent::MetricPoint& point, absl::Time now) {
  auto& mark = (*job.mutable_metric_marks())[point.kind()];
  // A resumed run measures the steps behind its checkpoint again and gets the same numbers: the history has them.
  if (mark.term() != 0 && mark.term() != JobTerm(job) && point.step() <= mark.step()) return JobEvents{};
  mark.set_step(point.step());
  mark.set_term(JobTerm(job));
  v1::JobEvent event = NewEvent(now);
  *event.mutable_metrics() = point;
  return JobEvents{event};
}

absl::StatusOr<JobEvents> ApplyCheckpoint(JobRecord& job, const internal::v1::Checkpoint& checkpoint, absl::Time now) {
  if (!job.has_finetune()) {
    return TenonError(Reason::kFieldInvalid, "an eval job has no checkpoints", "checkpoint");
  }
  if (job.has_checkpoint() && checkpoint.step() < job.checkpoint().step()) {
    return TenonError(Reason::kFieldInvalid, "a checkpoint must not be older than the last", "checkpoint.step");
  }
  *job.mutable_checkpoint() = checkpoint;
  v1::JobEvent event = NewEvent(now);
  event.mutable_checkpoint()->set_step(checkpoint.step());
  event.mutable_checkpoint()->set_term(JobTerm(job));
  return JobEvents{event};
}

absl::StatusOr<JobEvents> ApplyFinetuneSuccess(JobRecord& job, const internal::v1::FinetuneOutcome& outcome,
                                               absl::Time now) {
  if (!job.has_finetune()) return TenonError(Reason::kFieldInvalid, "not a finetune job", "finetune_success");
  *job.mutable_finetune()->mutable_result() = outcome.result();
  job.clear_checkpoint();
  return JobEvents{Move(job, v1::JOB_STATE_SUCCEEDED, v1::JOB_PHASE_UNSPECIFIED, "", now)};
}

absl::StatusOr<JobEvents> ApplyEvalSuccess(JobRecord& job, const internal::v1::EvalOutcome& outcome, absl::Time now) {
  if (!job.has_eval()) return TenonError(Reason::kFieldInvalid, "not an eval job", "eval_success");
  // The server measured a collection itself and names its model; a worker knows adapters by digest alone.
  if (!IsRetrievalEval(job) && outcome.results_size() != job.models_size()) {
    return TenonError(Reason::kFieldInvalid,
                      "there are " + std::to_string(outcome.results_size()) + " results for " +
                          std::to_string(job.models_size()) + " models",
                      "eval_success.results");
  }
  *job.mutable_eval()->mutable_results() = outcome.results();
  for (int i = 0; i < job.models_size(); ++i) *job.mutable_eval()->mutable_results(i)->mutable_model() = job.models(i);
  return JobEvents{Move(job, v1::JOB_STATE_SUCCEEDED, v1::JOB_PHASE_UNSPECIFIED, "", now)};
}

JobEvents Cancelled(JobRecord& job, absl::Time now) {
  job.clear_checkpoint();
  return {Move(job, v1::JOB_STATE_CANCELLED, v1::JOB_PHASE_UNSPECIFIED, "cancelled on request", now)};
}

JobEvents ApplyFailure(JobRecord& job, const internal::v1::Error& failure, absl::Time now) {
  const absl::Status error = FromErrorProto(failure);
  if (job.cancel_requested() && GetReason(error) == Reason::kCancelled) return Cancelled(job, now);
  job.clear_checkpoint();
  SetError(job, error);
  return {Move(job, v1::JOB_STATE_FAILED, v1::JOB_PHASE_UNSPECIFIED, failure.reason(), now)};
}

JobEvents ApplyPhase(JobRecord& job, v1::JobPhase phase, absl::Time now) {
  if (phase == v1::JOB_PHASE_UNSPECIFIED || phase == JobPhaseOf(job)) return {};
  return {Move(job, v1::JOB_STATE_RUNNING, phase, "", now)};
}

}  // namespace

std::string JobName(const JobRecord& job) {
  return Visit(job, [](const auto& resource) { return resource.name(); });
}

v1::JobState JobStateOf(const JobRecord& job) {
  return Visit(job, [](const auto& resource) { return resource.state(); });
}

v1::JobPhase JobPhaseOf(const JobRecord& job) {
  return Visit(job, [](const auto& resource) { return resource.progress().phase(); });
}

int64_t JobTerm(const JobRecord& job) {
  return Visit(job, [](const auto& resource) { return resource.term(); });
}

bool IsFinal(v1::JobState state) {
  return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_FAILED || state == v1::JOB_STATE_CANCELLED;
}

bool IsRetrievalEval(const JobRecord& job) { return job.eval().has_retrieval(); }

JobEvents StartJob(JobRecord& job, absl::Time now) {
  Visit(job, [&](auto& resource) { *resource.mutable_create_time() = ToTimestamp(now); });
  return {Move(job, v1::JOB_STATE_VALIDATING, v1::JOB_PHASE_UNSPECIFIED, "", now)};
}

absl::StatusOr<JobEvents> QueueJob(JobRecord& job, absl::Time now) {
  if (JobStateOf(job) != v1::JOB_STATE_VALIDATING) return Illegal(job, "queued");
  return JobEvents{Move(job, v1::JOB_STATE_QUEUED, v1::JOB_PHASE_UNSPECIFIED, "", now)};
}

absl::StatusOr<JobEvents> ClaimJob(JobRecord& job, const std::string& session, const std::string& worker,
                                   absl::Time now) {
  if (JobStateOf(job) != v1::JOB_STATE_QUEUED) return Illegal(job, "claimed");
  const bool first = JobTerm(job) == 0;
  Visit(job, [&](auto& resource) {
    resource.set_term(resource.term() + 1);
    if (first) *resource.mutable_start_time() = ToTimestamp(now);
  });
  job.set_session(session);
  job.set_worker(worker);
  job.clear_last_report();
  if (job.has_finetune()) {
    job.mutable_finetune()->set_worker(worker);
    if (job.has_checkpoint()) job.mutable_finetune()->set_resumed_from_step(job.checkpoint().step());
  }
  return JobEvents{Move(job, v1::JOB_STATE_RUNNING, v1::JOB_PHASE_LOADING, "", now)};
}

absl::Status CheckJobTerm(const JobRecord& job, int64_t term) {
  if (JobStateOf(job) == v1::JOB_STATE_RUNNING && JobTerm(job) == term) return absl::OkStatus();
  return TenonError(Reason::kStaleTerm, JobName(job) + " is no longer run under term " + std::to_string(term));
}

absl::StatusOr<JobEvents> ApplyReport(JobRecord& job, const internal::v1::ReportJobRequest& report, absl::Time now) {
  using Request = internal::v1::ReportJobRequest;
  if (report.report_case() == Request::kProgress) {
    RETURN_IF_ERROR(CheckJobTerm(job, report.term()));
    return ApplyPhase(job, report.progress().phase(), now);
  }
  const std::string digest = ReportDigest(report);
  if (JobTerm(job) == report.term() && job.last_report() == digest) return JobEvents{};
  RETURN_IF_ERROR(CheckJobTerm(job, report.term()));

  absl::StatusOr<JobEvents> events;
  switch (report.report_case()) {
    case Request::kMetrics:
      events = ApplyMetrics(job, report.metrics(), now);
      break;
    case Request::kNotice: {
      v1::JobEvent event = NewEvent(now);
      *event.mutable_notice() = report.notice();
      events = JobEvents{event};
      break;
    }
    case Request::kCheckpoint:
      events = ApplyCheckpoint(job, report.checkpoint(), now);
      break;
    case Request::kFinetuneSuccess:
      events = ApplyFinetuneSuccess(job, report.finetune_success(), now);
      break;
    case Request::kEvalSuccess:
      events = ApplyEvalSuccess(job, report.eval_success(), now);
      break;
    case Request::kFailure:
      events = ApplyFailure(job, report.failure(), now);
      break;
    case Request::kStopped:
      events =
          job.cancel_requested()
              ? Cancelled(job, now)
              : JobEvents{Move(job, v1::JOB_STATE_QUEUED, v1::JOB_PHASE_UNSPECIFIED, "handed back by its worker", now)};
      break;
    default:
      return TenonError(Reason::kFieldInvalid, "the report says nothing", "report");
  }
  if (!events.ok()) return events;
  job.set_last_report(digest);
  job.set_version(job.version() + 1);
  return events;
}

absl::StatusOr<JobEvents> RefuseSuccess(JobRecord& job, const internal::v1::ReportJobRequest& report,
                                        const absl::Status& why, absl::Time now) {
  const std::string digest = ReportDigest(report);
  if (JobTerm(job) == report.term() && job.last_report() == digest) return JobEvents{};
  RETURN_IF_ERROR(CheckJobTerm(job, report.term()));
  JobEvents events = ApplyFailure(job, ToErrorProto(why), now);
  job.set_last_report(digest);
  job.set_version(job.version() + 1);
  return events;
}

absl::StatusOr<JobEvents> LoseJob(JobRecord& job, int64_t term, int max_losses, absl::Time now) {
  RETURN_IF_ERROR(CheckJobTerm(job, term));
  if (job.cancel_requested()) return Cancelled(job, now);
  job.set_losses(job.losses() + 1);
  if (job.losses() >= max_losses) {
    const std::string message = "the job's worker was lost " + std::to_string(job.losses()) + " times";
    job.clear_checkpoint();
    SetError(job, TenonError(Reason::kJobLost, message));
    return JobEvents{Move(job, v1::JOB_STATE_FAILED, v1::JOB_PHASE_UNSPECIFIED, message, now)};
  }
  if (job.has_finetune()) job.mutable_finetune()->set_recoveries(job.losses());
  return JobEvents{
      Move(job, v1::JOB_STATE_QUEUED, v1::JOB_PHASE_UNSPECIFIED, "worker " + job.worker() + " was lost", now)};
}

absl::StatusOr<JobEvents> UnclaimJob(JobRecord& job, int64_t term, absl::Time now) {
  RETURN_IF_ERROR(CheckJobTerm(job, term));
  if (job.cancel_requested()) return Cancelled(job, now);
  return JobEvents{Move(job, v1::JOB_STATE_QUEUED, v1::JOB_PHASE_UNSPECIFIED,
                        "worker " + job.worker() + " went away before it had the job", now)};
}

JobEvents RequestCancel(JobRecord& job, absl::Time now) {
  const v1::JobState state = JobStateOf(job);
  if (IsFinal(state) || job.cancel_requested()) return {};
  job.set_cancel_requested(true);
  if (state != v1::JOB_STATE_RUNNING) return Cancelled(job, now);
  job.set_version(job.version() + 1);
  v1::JobEvent event = NewEvent(now);
  event.mutable_notice()->set_severity(v1::JobEvent::Notice::SEVERITY_INFO);
  event.mutable_notice()->set_message("cancellation was requested");
  return {event};
}

void SetAdapterRevision(JobRecord& job, const std::string& revision_name) {
  job.mutable_finetune()->mutable_result()->set_adapter_revision(revision_name);
}

void SetBase(JobRecord& job, const std::string& base_name) {
  job.mutable_finetune()->mutable_result()->set_base(base_name);
}

v1::JobState Replay(const JobEvents& history) {
  v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
  for (const v1::JobEvent& event : history) {
    if (event.has_state_change()) state = event.state_change().state();
  }
  return state;
}

}  // namespace tenon::server
