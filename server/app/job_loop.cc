// The scheduler's decisions: who runs what, who is lost. All on the event loop.
#include <utility>

#include "common/formats/status.h"
#include "common/ids.h"
#include "common/status_proto.h"
#include "server/app/job_records.h"
#include "server/app/job_scheduler_impl.h"

namespace tenon::server {
namespace {

constexpr size_t kMaxMessageBytes = 64 << 10;  // of the worker link

}  // namespace

JobSchedulerImpl::JobSchedulerImpl(const Parts& parts, const Options& options)
    : parts_(parts),
      options_(options),
      server_session_("server-" + RandomId()),
      board_(options.jobs_per_worker, server_session_),
      cleaner_(parts.store, parts.blobs, &board_, options.blob_grace) {}

void JobSchedulerImpl::Close() {
  closing_ = true;
  watchers_.NotifyAll();
}

JobSchedulerImpl::~JobSchedulerImpl() {
  Close();
  // The threads still report to the store; only then do callbacks end.
  retrieval_thread_.Stop();
  cleaning_thread_.Stop();
  absl::MutexLock lock(&alive_->mutex);
  alive_->value = false;
}

absl::Status JobSchedulerImpl::Start() {
  std::vector<JobRecord> waiting;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    for (const v1::JobState state : {v1::JOB_STATE_VALIDATING, v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING}) {
      ASSIGN_OR_RETURN(const std::vector<JobRecord> jobs, LoadJobsInState(snapshot, state));
      waiting.insert(waiting.end(), jobs.begin(), jobs.end());
    }
    return absl::OkStatus();
  }));
  for (JobRecord& job : waiting) {
    if (JobStateOf(job) == v1::JOB_STATE_VALIDATING) {
      RETURN_IF_ERROR(parts_.store->Write([&](Transaction& transaction) -> absl::Status {
        ASSIGN_OR_RETURN(const JobEvents events, QueueJob(job, Now()));
        return SaveJob(transaction, job, events, JobTerm(job));
      }));
    }
    // A worker that still runs its job has one lease to come back; what this server ran itself ended with the process
    // before.
    board_.Put(job, IsRetrievalEval(job) ? absl::InfinitePast() : Now() + options_.lease);
  }
  Post([this] { Tick(); });
  return absl::OkStatus();
}

void JobSchedulerImpl::Post(std::function<void()> function) {
  parts_.loop->Post([alive = alive_, function = std::move(function)] {
    absl::MutexLock lock(&alive->mutex);
    if (alive->value) function();
  });
}

void JobSchedulerImpl::PostAfter(absl::Duration delay, std::function<void()> function) {
  parts_.loop->PostAfter(delay, [alive = alive_, function = std::move(function)] {
    absl::MutexLock lock(&alive->mutex);
    if (alive->value) function();
  });
}

void JobSchedulerImpl::Follow(const JobRecord& record) {
  cleaner_.Drop(board_.Put(record), Now());
  watchers_.Notify({record.tenant(), JobName(record)});
}

void JobSchedulerImpl::Tick() {
  LoseGone();
  Pump();
  if (cleaner_.IsDue(Now())) {
    cleaning_thread_.Post([this] { (void)cleaner_.Sweep(Now()); });
  }
  PostAfter(options_.tick, [this] { Tick(); });
}

void JobSchedulerImpl::ChangeAsync(const JobKey& key, Change change,
                                   std::function<void(absl::StatusOr<JobRecord>)> done) {
  auto record = std::make_shared<JobRecord>();
  auto body = [key, change = std::move(change), record](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(*record, LoadJob(transaction, key.tenant, key.name));
    const int64_t term = JobTerm(*record);
    ASSIGN_OR_RETURN(const JobEvents events, change(*record));
    return events.empty() ? absl::OkStatus() : SaveJob(transaction, *record, events, term);
  };
  parts_.store->WriteAsync(std::move(body),
                           [this, alive = alive_, record, done = std::move(done)](absl::Status status) {
                             absl::MutexLock lock(&alive->mutex);
                             if (!alive->value) return;
                             Post([record, done, status] {
                               if (status.ok()) {
                                 done(*record);
                               } else {
                                 done(status);
                               }
                             });
                           });
}

void JobSchedulerImpl::Pump() {
  // Whoever got a job now would lose it with this process.
  if (closing_) return;
  while (const std::optional<JobBoard::Claim> claim = board_.TakeClaim()) {
    ChangeAsync(
        claim->key,
        [claim = *claim, clock = parts_.clock](JobRecord& job) {
          return ClaimJob(job, claim.session, claim.worker, clock->Now());
        },
        [this, claim = *claim](const absl::StatusOr<JobRecord>& record) { OnClaimed(claim, record); });
  }
}

void JobSchedulerImpl::OnClaimed(const JobBoard::Claim& claim, const absl::StatusOr<JobRecord>& record) {
  if (record.ok()) Follow(*record);
  const bool retrieval = record.ok() && IsRetrievalEval(*record);
  // It stays taken until the claim is undone: nobody must look for it at a worker that may come back meanwhile.
  if (record.ok() && !retrieval && !board_.IsConnected(claim.session)) return Unclaim(claim.key, JobTerm(*record));
  board_.Release(claim.key);
  // Not claimed: it was cancelled meanwhile, or the store takes no writes; the next tick tries again.
  if (!record.ok()) return;
  if (retrieval) {
    RunRetrieval(*record);
  } else {
    SendAssignment(claim.session, *record);
  }
}

void JobSchedulerImpl::Unclaim(const JobKey& key, int64_t term) {
  ChangeAsync(
      key, [term, clock = parts_.clock](JobRecord& job) { return UnclaimJob(job, term, clock->Now()); },
      [this, key, term](const absl::StatusOr<JobRecord>& record) {
        if (record.ok()) {
          Follow(*record);
        } else {
          board_.GiveUp(key, term);  // the store takes no writes; the next tick tries again, and may count a loss
        }
        board_.Release(key);
        if (record.ok()) Pump();
      });
}

void JobSchedulerImpl::LoseGone() {
  for (const auto& [key, term] : board_.TakeLost(Now())) {
    ChangeAsync(
        key,
        [term = term, max_losses = options_.max_losses, clock = parts_.clock](JobRecord& job) {
          return LoseJob(job, term, max_losses, clock->Now());
        },
        [this, key = key](const absl::StatusOr<JobRecord>& record) { OnLost(key, record); });
  }
}

void JobSchedulerImpl::OnLost(const JobKey& key, const absl::StatusOr<JobRecord>& record) {
  if (record.ok()) Follow(*record);
  board_.Release(key);
  // Not stored: a last report came first, or the store takes no writes; the next tick looks again.
  if (!record.ok()) return;
  Pump();
}

std::vector<internal::v1::JobHold> JobSchedulerImpl::OnWorkerHello(const std::string& session,
                                                                   const std::string& worker_id,
                                                                   const std::vector<internal::v1::JobHold>& held) {
  const JobBoard::Hello hello = board_.AddWorker(session, worker_id, held);
  for (const internal::v1::JobHold& hold : hello.cancel) {
    internal::v1::LinkResponse message;
    message.mutable_cancel()->set_job(hold.job());
    message.mutable_cancel()->set_term(hold.term());
    // Behind the caller's answer to the hello: the worker takes nothing else first.
    Post([this, session, message = std::move(message)] { parts_.send(session, message); });
  }
  for (const JobKey& key : hello.assign_again) {
    ChangeAsync(
        key, [](JobRecord&) { return JobEvents{}; },
        [this, session, key](const absl::StatusOr<JobRecord>& record) {
          const auto run = board_.Running(key);
          if (!record.ok() || !run.has_value() || run->session != session || run->term != JobTerm(*record)) return;
          SendAssignment(session, *record);
        });
  }
  Pump();
  return hello.drop;
}

void JobSchedulerImpl::OnWorkerHeartbeat(const std::string& session, const std::vector<internal::v1::JobHold>& held) {
  board_.Heartbeat(session, held, Now(), options_.lease);
  LoseGone();
}

void JobSchedulerImpl::OnBaseReady(const std::string& session, const std::string& base_digest) {
  board_.AddBase(session, base_digest);
  Pump();
}

void JobSchedulerImpl::OnBaseGone(const std::string& session, const std::string& base_digest) {
  board_.RemoveBase(session, base_digest);
}

void JobSchedulerImpl::OnWorkerDisconnected(const std::string& session) { board_.DisconnectWorker(session); }

void JobSchedulerImpl::OnWorkerLost(const std::string& session) {
  board_.RemoveWorker(session);
  LoseGone();
}

void JobSchedulerImpl::SendAssignment(const std::string& session, const JobRecord& record) {
  internal::v1::LinkResponse message;
  internal::v1::JobAssignment& assign = *message.mutable_assign();
  assign.set_job(JobName(record));
  assign.set_tenant(record.tenant());
  assign.set_term(JobTerm(record));
  assign.set_base_digest(record.base_digest());
  if (record.has_finetune()) {
    internal::v1::FinetuneWork& work = *assign.mutable_finetune();
    *work.mutable_spec() = record.finetune();
    work.mutable_spec()->clear_preview();  // for people
    *work.mutable_train() = record.dataset();
    if (record.has_validation()) *work.mutable_validation() = record.validation();
    if (record.has_checkpoint()) *work.mutable_resume() = record.checkpoint();
    // Without them the worker reads the labels from the rows, in the same order.
    if (message.ByteSizeLong() > kMaxMessageBytes) work.mutable_spec()->clear_labels();
  } else {
    internal::v1::EvalWork& work = *assign.mutable_eval();
    *work.mutable_adapters() = record.adapters();
    *work.mutable_dataset() = record.dataset();
    if (record.eval().has_seq2seq()) {
      *work.mutable_seq2seq() = record.eval().seq2seq();
      work.mutable_seq2seq()->clear_models();
      work.mutable_seq2seq()->clear_dataset();
      work.set_max_input_tokens(record.eval().seq2seq().max_input_tokens());
    } else {
      work.set_max_input_tokens(record.eval().classification().max_input_tokens());
      if (record.eval().classification().has_answers()) {
        *work.mutable_answers() = record.eval().classification().answers();
      }
    }
  }
  parts_.send(session, std::move(message));
}

void JobSchedulerImpl::SendCancel(const JobKey& key) {
  const auto run = board_.Running(key);
  if (!run.has_value() || !run->cancel_requested || !board_.IsConnected(run->session)) return;
  internal::v1::LinkResponse message;
  message.mutable_cancel()->set_job(key.name);
  message.mutable_cancel()->set_term(run->term);
  parts_.send(run->session, std::move(message));
}

void JobSchedulerImpl::RunRetrieval(const JobRecord& record) {
  retrieval_thread_.Post([this, record] {
    const JobKey key{record.tenant(), JobName(record)};
    const int64_t term = JobTerm(record);
    const auto cancelled = [&] {
      const auto run = board_.Running(key);
      return closing_ || !run.has_value() || run->term != term || run->cancel_requested;
    };
    internal::v1::ReportJobRequest report;
    report.set_session(server_session_);
    report.set_job(key.name);
    report.set_term(term);
    const auto progress = [&](int64_t done, int64_t total) {
      report.mutable_progress()->set_phase(v1::JOB_PHASE_EVALUATING);
      report.mutable_progress()->set_done(done);
      report.mutable_progress()->set_total(total);
      (void)Report(report);
    };
    const absl::StatusOr<v1::EvalResult> result =
        parts_.retrieval->Run(record.tenant(), record.eval().retrieval(), progress, cancelled);
    if (result.ok()) {
      *report.mutable_eval_success()->add_results() = *result;
    } else if (cancelled()) {
      report.mutable_stopped();  // cancelled, or to be run again by the next process
    } else {
      *report.mutable_failure() = ToErrorProto(result.status());
    }
    // When even that cannot be stored, the job counts as lost and is run again.
    if (!Report(report).ok()) board_.GiveUp(key, term);
  });
}

}  // namespace tenon::server
