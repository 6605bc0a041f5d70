// Every job that is not final, and the workers that run them, in memory: what the scheduler decides by. The store stays
// the truth: entries are made of committed records alone.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/app/job_scheduler.h"
#include "server/jobs/job.h"

namespace tenon::server {

struct JobKey {
  std::string tenant;
  std::string name;  // `finetuneJobs/{id}`
  auto operator<=>(const JobKey&) const = default;
};

// Thread-safe; no call blocks.
class JobBoard {
 public:
  // `server_session`: under which this process itself runs retrieval evals; never used before.
  JobBoard(int jobs_per_worker, const std::string& server_session)
      : jobs_per_worker_(jobs_per_worker), server_session_(server_session) {}

  // Takes over a committed record, unless a newer version is here; a final one leaves the board. A job that runs on a
  // worker that is not connected is lost unless that worker is back by `give_up`.
  // Returns the digests of files that its checkpoint no longer has.
  std::vector<std::string> Put(const JobRecord& record, absl::Time give_up = absl::InfinitePast());

  // --- Workers.
  struct Hello {
    std::vector<internal::v1::JobHold> drop;  // their term is over
    std::vector<JobKey> assign_again;         // running there for us, unknown to it: the assignment was lost on the way
    std::vector<internal::v1::JobHold> cancel;  // whose cancellation it may have missed
  };
  Hello AddWorker(const std::string& session, const std::string& worker,
                  const std::vector<internal::v1::JobHold>& held);
  // What the worker says it holds, in a heartbeat. A job that runs there and is missing for longer than `patience` has
  // ended without a word that came through: it is lost.
  void Heartbeat(const std::string& session, const std::vector<internal::v1::JobHold>& held, absl::Time now,
                 absl::Duration patience);
  void AddBase(const std::string& session, const std::string& base_digest);
  void RemoveBase(const std::string& session, const std::string& base_digest);
  // Its link closed; it keeps its jobs while it may come back, and gets no others.
  void DisconnectWorker(const std::string& session);
  void RemoveWorker(const std::string& session);
  // It hands its jobs back and takes no more: it is about to end.
  void RetireWorker(const std::string& session);
  bool IsConnected(const std::string& session) const;

  // --- Decisions. What is taken is marked until Release, so that it is not taken twice.
  struct Claim {
    JobKey key;
    std::string session;
    std::string worker;
  };
  // The next job and who is to run it: tenants in turn, each one's jobs in order of creation.
  std::optional<Claim> TakeClaim();
  // Running jobs whose worker is gone.
  std::vector<std::pair<JobKey, int64_t>> TakeLost(absl::Time now);
  void Release(const JobKey& key);
  // Whoever ran the job has stopped and cannot say so: it is lost.
  void GiveUp(const JobKey& key, int64_t term);

  // --- Views.
  // The running job a worker speaks of; terms tell tenants' jobs of one name apart.
  std::optional<JobKey> FindRunning(const std::string& name, int64_t term, const std::string& session) const;
  // Session and term of a running job.
  struct Run {
    std::string session;
    int64_t term = 0;
    bool cancel_requested = false;
  };
  std::optional<Run> Running(const JobKey& key) const;
  // False when the progress opens another phase, which must be stored first.
  bool SetProgress(const JobKey& key, int64_t term, const v1::JobProgress& progress);
  std::optional<v1::JobProgress> Progress(const JobKey& key) const;
  // In the order in which they would start, if every worker could run every job.
  std::map<JobKey, v1::QueuePlace> QueuePlaces() const;
  JobScheduler::Counts counts() const;
  // Digests of the files of every job's checkpoint.
  std::set<std::string> CheckpointFiles() const;

 private:
  struct Entry {
    int64_t version = 0;
    v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
    v1::JobPhase phase = v1::JOB_PHASE_UNSPECIFIED;
    int64_t term = 0;
    int losses = 0;
    bool retrieval = false;
    bool cancel_requested = false;
    bool taken = false;
    bool given_up = false;  // whoever ran it under this term does so no more, connected or not
    std::string base_digest;
    std::string session;
    absl::Time create_time;
    absl::Time give_up;
    absl::Time missed = absl::InfiniteFuture();  // since when its worker's heartbeats do not name it
    v1::JobProgress progress;
    std::vector<std::string> checkpoint_files;
  };
  struct Worker {
    std::string name;
    std::set<std::string> bases;
    bool connected = true;
    bool retired = false;

    bool takes_jobs() const { return connected && !retired; }
  };
  using Order = std::pair<absl::Time, JobKey>;  // of creation

  // Who can take a job: one look at all jobs and workers, whatever the length of the queue.
  struct Room {
    std::map<std::string, std::string> by_base;  // base digest -> session of the least loaded worker that holds it
    bool server = false;                         // for a retrieval eval that waits
  };
  Room FindRoom() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  std::vector<JobKey> TurnOrder() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  v1::QueuePlace Place(const Entry& entry, int position) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const int jobs_per_worker_;
  const std::string server_session_;
  mutable absl::Mutex mutex_;
  std::map<JobKey, Entry> jobs_ ABSL_GUARDED_BY(mutex_);
  std::set<Order> queue_ ABSL_GUARDED_BY(mutex_);  // jobs in QUEUED
  std::map<std::string, Worker> workers_ ABSL_GUARDED_BY(mutex_);
  std::string last_tenant_ ABSL_GUARDED_BY(mutex_);
  // Jobs that left the board, so that a copy that comes late does not bring one back. The newest few thousand.
  std::set<JobKey> finals_ ABSL_GUARDED_BY(mutex_);
  std::deque<JobKey> final_order_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tenon::server
