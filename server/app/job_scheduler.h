// The job use case: create, queue, claim, assign, report, requeue, finish. Rules are server/jobs'; durability is the
// store's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/event_loop.h"
#include "server/blobs/blob_store.h"
#include "server/catalog/catalog.h"
#include "server/store/store.h"
#include "tenon/internal/v1/worker_link_service.pb.h"
#include "tenon/v1/eval_service.pb.h"
#include "tenon/v1/finetune_service.pb.h"

namespace tenon::server {

// Runs a retrieval evaluation inside the server; blocks. (server/app/retrieval_eval.h)
class RetrievalEvaluator {
 public:
  virtual ~RetrievalEvaluator() = default;
  virtual absl::StatusOr<v1::EvalResult> Run(const std::string& tenant, const v1::RetrievalEval& spec,
                                             const std::function<void(int64_t done, int64_t total)>& progress,
                                             const std::function<bool()>& cancelled) = 0;
  // What can be checked before the job is stored, in the transaction that stores it: names exist and are of the right
  // kind.
  virtual absl::Status Check(Snapshot& snapshot, const std::string& tenant, const v1::RetrievalEval& spec) = 0;
};

class JobScheduler {
 public:
  struct Options {
    int max_queued_jobs = 1000;  // beyond: QUEUE_FULL
    int max_losses = 3;          // of workers, before the job fails with JOB_LOST
    int jobs_per_worker = 1;
    absl::Duration lease =
        absl::Seconds(30);  // that a worker has to come back after the server's start, or to name its jobs
    absl::Duration tick = absl::Seconds(1);  // between looks at deadlines, and before a failed write is tried again
    absl::Duration watch_interval = absl::Milliseconds(200);  // between progress calls to one job's watchers
    absl::Duration blob_grace = absl::Seconds(60);            // from a checkpoint's end to the deletion of its files
  };
  struct Parts {
    Store* store;
    BlobStore* blobs;
    ModelIndex* models;
    EventLoop* loop;
    const Clock* clock;
    RetrievalEvaluator* retrieval;
    // Told after a job made a base, so that the fleet places it before anybody hears of it. Any thread.
    std::function<void()> bases_changed;
    // Sends to the worker of a session; dropped when it is gone. Called on the loop.
    std::function<void(const std::string& session, internal::v1::LinkResponse)> send;
  };
  static absl::StatusOr<std::unique_ptr<JobScheduler>> Create(const Parts& parts, const Options& options);
  virtual ~JobScheduler() = default;
  // The process is about to end: nothing is claimed any more, retrieval evaluations that run here are handed back, and
  // every watcher is told.
  virtual void Close() = 0;
  virtual bool closing() const = 0;

  // --- Called by api on the blocking pool.
  virtual absl::StatusOr<v1::FinetuneJob> CreateFinetune(const std::string& tenant,
                                                         const v1::CreateFinetuneJobRequest& request) = 0;
  virtual absl::StatusOr<v1::EvalJob> CreateEval(const std::string& tenant,
                                                 const v1::CreateEvalJobRequest& request) = 0;
  virtual absl::StatusOr<v1::FinetuneJob> GetFinetune(const std::string& tenant, const std::string& name) = 0;
  virtual absl::StatusOr<v1::EvalJob> GetEval(const std::string& tenant, const std::string& name) = 0;
  virtual absl::StatusOr<v1::ListFinetuneJobsResponse> ListFinetune(const std::string& tenant,
                                                                    const v1::ListFinetuneJobsRequest& request) = 0;
  virtual absl::StatusOr<v1::ListEvalJobsResponse> ListEval(const std::string& tenant,
                                                            const v1::ListEvalJobsRequest& request) = 0;
  virtual absl::StatusOr<v1::FinetuneJob> CancelFinetune(const std::string& tenant, const std::string& name) = 0;
  virtual absl::StatusOr<v1::EvalJob> CancelEval(const std::string& tenant, const std::string& name) = 0;
  // Events behind `after`, at most `limit`.
  virtual absl::StatusOr<std::vector<v1::JobEvent>> Events(const std::string& tenant, const std::string& name,
                                                           int64_t after, int limit) = 0;
  // Calls `changed` (any thread, must be quick) whenever the job has a new event, progress or state, until Unwatch.
  virtual uint64_t Watch(const std::string& tenant, const std::string& name, std::function<void()> changed) = 0;
  virtual void Unwatch(uint64_t watch) = 0;

  // --- Called by the worker link on the loop.
  // A worker connected with jobs that it says it holds: those whose term is over are returned and must be dropped
  // there.
  virtual std::vector<internal::v1::JobHold> OnWorkerHello(const std::string& session, const std::string& worker_id,
                                                           const std::vector<internal::v1::JobHold>& held) = 0;
  // The jobs that it says it holds. One that it was given and does not name for longer than a lease is queued again, as
  // after a loss.
  virtual void OnWorkerHeartbeat(const std::string& session, const std::vector<internal::v1::JobHold>& held) = 0;
  // A base is loaded there: jobs on it may be assigned.
  virtual void OnBaseReady(const std::string& session, const std::string& base_digest) = 0;
  // It was told to unload the base: no more jobs on it are assigned there.
  virtual void OnBaseGone(const std::string& session, const std::string& base_digest) = 0;
  // Its link closed: it keeps its jobs until it is back (OnWorkerHello) or lost, and gets no others.
  virtual void OnWorkerDisconnected(const std::string& session) = 0;
  // Its lease is over, or its reconnect window: its jobs are queued again under a new term.
  virtual void OnWorkerLost(const std::string& session) = 0;

  // --- Called by the worker link on the blocking pool. STALE_TERM when the term is not the job's current one.
  virtual absl::Status Report(const internal::v1::ReportJobRequest& report) = 0;
  // Whether (job, term) is current, for blobs that a worker publishes.
  virtual absl::Status CheckTerm(const std::string& job, int64_t term) = 0;
  // A worker is about to store the file and will report it: a file of the same bytes that was about to go stays.
  virtual void KeepBlob(const std::string& sha256) = 0;

  struct Counts {
    int validating = 0, queued = 0, running = 0;
  };
  virtual Counts counts() const = 0;
};

}  // namespace tenon::server
