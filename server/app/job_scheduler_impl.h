// The JobScheduler itself; whoever uses it includes job_scheduler.h alone.
//
// Records change in the store and nowhere else, inside transactions that check state and term (server/jobs); the board
// follows what was committed. Decisions (who runs what, who is lost) are taken on the loop, from the board.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "server/app/job_board.h"
#include "server/app/job_cleaner.h"
#include "server/app/job_create.h"
#include "server/app/job_scheduler.h"
#include "server/app/job_thread.h"
#include "server/app/job_watchers.h"

namespace tenon::server {

class JobSchedulerImpl final : public JobScheduler {
 public:
  JobSchedulerImpl(const Parts& parts, const Options& options);
  ~JobSchedulerImpl() override;
  // Reads unfinished jobs and begins to look at deadlines.
  absl::Status Start();

  void Close() override;
  bool closing() const override { return closing_; }
  absl::StatusOr<v1::FinetuneJob> CreateFinetune(const std::string& tenant,
                                                 const v1::CreateFinetuneJobRequest& request) override;
  absl::StatusOr<v1::EvalJob> CreateEval(const std::string& tenant, const v1::CreateEvalJobRequest& request) override;
  absl::StatusOr<v1::FinetuneJob> GetFinetune(const std::string& tenant, const std::string& name) override;
  absl::StatusOr<v1::EvalJob> GetEval(const std::string& tenant, const std::string& name) override;
  absl::StatusOr<v1::ListFinetuneJobsResponse> ListFinetune(const std::string& tenant,
                                                            const v1::ListFinetuneJobsRequest& request) override;
  absl::StatusOr<v1::ListEvalJobsResponse> ListEval(const std::string& tenant,
                                                    const v1::ListEvalJobsRequest& request) override;
  absl::StatusOr<v1::FinetuneJob> CancelFinetune(const std::string& tenant, const std::string& name) override;
  absl::StatusOr<v1::EvalJob> CancelEval(const std::string& tenant, const std::string& name) override;
  absl::StatusOr<std::vector<v1::JobEvent>> Events(const std::string& tenant, const std::string& name, int64_t after,
                                                   int limit) override;
  uint64_t Watch(const std::string& tenant, const std::string& name, std::function<void()> changed) override;
  void Unwatch(uint64_t watch) override { watchers_.Remove(watch); }

  std::vector<internal::v1::JobHold> OnWorkerHello(const std::string& session, const std::string& worker_id,
                                                   const std::vector<internal::v1::JobHold>& held) override;
  void OnWorkerHeartbeat(const std::string& session, const std::vector<internal::v1::JobHold>& held) override;
  void OnBaseReady(const std::string& session, const std::string& base_digest) override;
  void OnBaseGone(const std::string& session, const std::string& base_digest) override;
  void OnWorkerDisconnected(const std::string& session) override;
  void OnWorkerLost(const std::string& session) override;
  absl::Status Report(const internal::v1::ReportJobRequest& report) override;
  absl::Status CheckTerm(const std::string& job, int64_t term) override;
  void KeepBlob(const std::string& sha256) override { cleaner_.Keep(sha256, Now()); }
  Counts counts() const override { return board_.counts(); }

 private:
  using Prepare = std::function<absl::StatusOr<JobRecord>(Snapshot&, UnknownLabels*)>;

  // job_scheduler.cc: what clients ask for.
  struct NewJob {
    std::string method;  // of the RPC, for request ids
    std::string request_id;
    std::string body_digest;
    std::string name;
    bool validate_only = false;
  };
  absl::StatusOr<JobRecord> StoreNew(const std::string& tenant, const NewJob& job, const Prepare& prepare);
  absl::StatusOr<JobRecord> Load(const std::string& tenant, const std::string& name);
  absl::StatusOr<JobRecord> Cancel(const std::string& tenant, const std::string& name);
  template <typename Response, typename Request>
  absl::StatusOr<Response> List(const std::string& tenant, const char* kind, const Request& request,
                                const std::function<void(const JobRecord&, Response*)>& add) const;
  // Adds what only memory knows: progress, place in the queue.
  template <typename Job>
  Job Present(const std::string& tenant, Job job, const std::map<JobKey, v1::QueuePlace>& places) const;

  // job_loop.cc: decisions, on the loop.
  void Tick();
  void Pump();
  void OnClaimed(const JobBoard::Claim& claim, const absl::StatusOr<JobRecord>& record);
  void Unclaim(const JobKey& key, int64_t term);
  void LoseGone();
  void OnLost(const JobKey& key, const absl::StatusOr<JobRecord>& record);
  void SendAssignment(const std::string& session, const JobRecord& record);
  void SendCancel(const JobKey& key);
  void RunRetrieval(const JobRecord& record);
  // Runs `change` on the stored record in a transaction, then `done` on the loop with what was committed.
  using Change = std::function<absl::StatusOr<JobEvents>(JobRecord&)>;
  void ChangeAsync(const JobKey& key, Change change, std::function<void(absl::StatusOr<JobRecord>)> done);
  // On the loop, unless this is destroyed first.
  void Post(std::function<void()> function);
  void PostAfter(absl::Duration delay, std::function<void()> function);

  // job_report.cc: what workers say, on the pool.
  absl::StatusOr<JobKey> FindReported(const internal::v1::ReportJobRequest& report);
  absl::Status ReportDurable(const JobKey& key, const internal::v1::ReportJobRequest& report);
  absl::Status CheckFiles(const google::protobuf::RepeatedPtrField<v1::FileEntry>& files);
  void TellProgress(const JobKey& key);

  absl::Time Now() const { return parts_.clock->Now(); }
  // What everyone is to know of a committed record: the board, watchers, and the cleaner of files it no longer refers
  // to.
  void Follow(const JobRecord& record);

  // Callbacks may outlive the scheduler; they ask here first.
  struct Alive {
    absl::Mutex mutex;
    bool value ABSL_GUARDED_BY(mutex) = true;
  };

  const Parts parts_;
  const Options options_;
  const std::string server_session_;
  const std::shared_ptr<Alive> alive_ = std::make_shared<Alive>();
  std::atomic<bool> closing_ = false;
  std::atomic<int> creating_ = 0;  // jobs inserted by writes that are not committed yet
  JobBoard board_;
  JobWatchers watchers_;
  JobCleaner cleaner_;
  JobThread retrieval_thread_;
  JobThread cleaning_thread_;
};

}  // namespace tenon::server
