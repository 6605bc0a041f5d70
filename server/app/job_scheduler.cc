#include <random>
#include <utility>

#include "common/formats/status.h"
#include "common/ids.h"
#include "common/tuning_options.h"
#include "server/app/catalog_requests.h"
#include "server/app/job_preview.h"
#include "server/app/job_records.h"
#include "server/app/job_scheduler_impl.h"
#include "server/catalog/records.h"
#include "server/jobs/eval_request.h"
#include "server/jobs/finetune_request.h"

namespace tenon::server {
namespace {

// Digest of a request without its key.
template <typename Request>
std::string BodyDigest(Request request) {
  request.clear_request_id();
  return RequestDigest(request);
}

absl::StatusOr<std::string> NewName(const std::string& collection, const std::string& id, const std::string& field) {
  if (id.empty()) return collection + "/" + RandomId();
  RETURN_IF_ERROR(CheckId(id, field));
  return collection + "/" + id;
}

int64_t DrawSeed() {
  std::random_device device;
  return device() & 0x7fffffff;  // exact in every JSON reader
}

absl::StatusOr<std::string> FullName(const std::string& collection, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, ParseName(collection, name, "name"));
  return collection + "/" + id;
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobScheduler>> JobScheduler::Create(const Parts& parts, const Options& options) {
  auto scheduler = std::make_unique<JobSchedulerImpl>(parts, options);
  RETURN_IF_ERROR(scheduler->Start());
  return scheduler;
}

absl::StatusOr<JobRecord> JobSchedulerImpl::StoreNew(const std::string& tenant, const NewJob& job,
                                                     const Prepare& prepare) {
  JobRecord stored;
  UnknownLabels unknown;
  bool counted = false;
  const auto body = [&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const auto made,
                     ClaimCreate(transaction, tenant, job.method, job.request_id, job.body_digest, job.name));
    if (made.has_value()) {
      ASSIGN_OR_RETURN(stored, LoadJob(transaction, tenant, *made));
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(stored, prepare(transaction, &unknown));
    if (board_.counts().queued + creating_ >= options_.max_queued_jobs) {
      return TenonError(Reason::kQueueFull,
                        std::to_string(options_.max_queued_jobs) + " jobs are queued already; try again later");
    }
    if (stored.has_eval()) {
      stored.mutable_eval()->set_name(job.name);
    } else {
      stored.mutable_finetune()->set_name(job.name);
    }
    JobEvents events = StartJob(stored, Now());
    // The rows were checked when they were uploaded, labels and kinds just now: nothing is left to validate.
    ASSIGN_OR_RETURN(const JobEvents queued, QueueJob(stored, Now()));
    events.insert(events.end(), queued.begin(), queued.end());
    RETURN_IF_ERROR(InsertJob(transaction, stored, events));
    counted = true;
    ++creating_;  // others in the same commit must see it; the board will only after that
    return absl::OkStatus();
  };
  absl::Status status;
  if (job.validate_only) {
    status = parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
      ASSIGN_OR_RETURN(stored, prepare(snapshot, &unknown));
      return absl::OkStatus();
    });
  } else {
    status = parts_.store->Write(body);
    if (status.ok()) Follow(stored);
    if (counted) --creating_;
  }
  if (GetReason(status) == Reason::kLabelUnknown && !unknown.field.empty()) {
    return NameUnknownLabel(*parts_.blobs, unknown);
  }
  RETURN_IF_ERROR(status);
  if (job.validate_only) return stored;
  Post([this] { Pump(); });
  return stored;
}

absl::StatusOr<v1::FinetuneJob> JobSchedulerImpl::CreateFinetune(const std::string& tenant,
                                                                 const v1::CreateFinetuneJobRequest& request) {
  NewJob job;
  job.method = "CreateFinetuneJob";
  job.request_id = request.request_id();
  job.body_digest = BodyDigest(request);
  job.validate_only = request.validate_only();
  ASSIGN_OR_RETURN(job.name, NewName("finetuneJobs", request.finetune_job_id(), "finetune_job_id"));
  ASSIGN_OR_RETURN(const v1::FinetuneJob spec, NormalizeFinetune(request.finetune_job(), DrawSeed()));
  FirstRows first;
  if (TakesTemplate(spec.task())) {
    ASSIGN_OR_RETURN(first, ReadFirstRows(*parts_.store, *parts_.blobs, tenant, spec.train_dataset()));
  }
  const auto prepare = [&](Snapshot& snapshot, UnknownLabels* unknown) -> absl::StatusOr<JobRecord> {
    ASSIGN_OR_RETURN(JobRecord prepared, PrepareFinetune(snapshot, tenant, spec, unknown));
    RETURN_IF_ERROR(AddPreview(first, prepared));
    return prepared;
  };
  ASSIGN_OR_RETURN(const JobRecord record, StoreNew(tenant, job, prepare));
  return Present(tenant, record.finetune(), board_.QueuePlaces());
}

absl::StatusOr<v1::EvalJob> JobSchedulerImpl::CreateEval(const std::string& tenant,
                                                         const v1::CreateEvalJobRequest& request) {
  NewJob job;
  job.method = "CreateEvalJob";
  job.request_id = request.request_id();
  job.body_digest = BodyDigest(request);
  ASSIGN_OR_RETURN(job.name, NewName("evalJobs", request.eval_job_id(), "eval_job_id"));
  ASSIGN_OR_RETURN(const v1::EvalJob spec, NormalizeEval(request.eval_job()));
  const auto prepare = [&](Snapshot& snapshot, UnknownLabels* unknown) -> absl::StatusOr<JobRecord> {
    if (spec.has_retrieval()) RETURN_IF_ERROR(parts_.retrieval->Check(snapshot, tenant, spec.retrieval()));
    return PrepareEval(snapshot, *parts_.models, tenant, spec, unknown);
  };
  ASSIGN_OR_RETURN(const JobRecord record, StoreNew(tenant, job, prepare));
  return Present(tenant, record.eval(), board_.QueuePlaces());
}

absl::StatusOr<JobRecord> JobSchedulerImpl::Load(const std::string& tenant, const std::string& name) {
  JobRecord record;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(record, LoadJob(snapshot, tenant, name));
    return absl::OkStatus();
  }));
  return record;
}

template <typename Job>
Job JobSchedulerImpl::Present(const std::string& tenant, Job job,
                              const std::map<JobKey, v1::QueuePlace>& places) const {
  const JobKey key{tenant, job.name()};
  if (job.state() == v1::JOB_STATE_RUNNING) {
    if (const auto progress = board_.Progress(key); progress.has_value()) *job.mutable_progress() = *progress;
  }
  if (job.state() == v1::JOB_STATE_QUEUED) {
    if (const auto place = places.find(key); place != places.end()) *job.mutable_queue() = place->second;
  }
  return job;
}

absl::StatusOr<v1::FinetuneJob> JobSchedulerImpl::GetFinetune(const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string full, FullName("finetuneJobs", name));
  ASSIGN_OR_RETURN(const JobRecord record, Load(tenant, full));
  return Present(tenant, record.finetune(), board_.QueuePlaces());
}

absl::StatusOr<v1::EvalJob> JobSchedulerImpl::GetEval(const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string full, FullName("evalJobs", name));
  ASSIGN_OR_RETURN(const JobRecord record, Load(tenant, full));
  return Present(tenant, record.eval(), board_.QueuePlaces());
}

template <typename Response, typename Request>
absl::StatusOr<Response> JobSchedulerImpl::List(const std::string& tenant, const char* kind, const Request& request,
                                                const std::function<void(const JobRecord&, Response*)>& add) const {
  Response response;
  ListQuery query{tenant, kind};
  ASSIGN_OR_RETURN(query.limit, PageSize(request.page_size()));
  query.page_token = request.page_token();
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(const ListPage page, snapshot.List(query));
    response.set_next_page_token(page.next_page_token);
    for (const Record& record : page.records) {
      ASSIGN_OR_RETURN(const JobRecord job, ParseJob(record));
      add(job, &response);
    }
    return absl::OkStatus();
  }));
  return response;
}

absl::StatusOr<v1::ListFinetuneJobsResponse> JobSchedulerImpl::ListFinetune(
    const std::string& tenant, const v1::ListFinetuneJobsRequest& request) {
  const auto places = board_.QueuePlaces();
  return List<v1::ListFinetuneJobsResponse>(tenant, kFinetuneKind, request,
                                            [&](const JobRecord& job, v1::ListFinetuneJobsResponse* response) {
                                              *response->add_finetune_jobs() = Present(tenant, job.finetune(), places);
                                            });
}

absl::StatusOr<v1::ListEvalJobsResponse> JobSchedulerImpl::ListEval(const std::string& tenant,
                                                                    const v1::ListEvalJobsRequest& request) {
  const auto places = board_.QueuePlaces();
  return List<v1::ListEvalJobsResponse>(tenant, kEvalKind, request,
                                        [&](const JobRecord& job, v1::ListEvalJobsResponse* response) {
                                          *response->add_eval_jobs() = Present(tenant, job.eval(), places);
                                        });
}

absl::StatusOr<JobRecord> JobSchedulerImpl::Cancel(const std::string& tenant, const std::string& name) {
  const JobKey key{tenant, name};
  JobRecord record;
  RETURN_IF_ERROR(parts_.store->Write([&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(record, LoadJob(transaction, tenant, name));
    const JobEvents events = RequestCancel(record, Now());
    return events.empty() ? absl::OkStatus() : SaveJob(transaction, record, events, JobTerm(record));
  }));
  Follow(record);
  Post([this, key] { SendCancel(key); });
  return record;
}

absl::StatusOr<v1::FinetuneJob> JobSchedulerImpl::CancelFinetune(const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string full, FullName("finetuneJobs", name));
  ASSIGN_OR_RETURN(const JobRecord record, Cancel(tenant, full));
  return Present(tenant, record.finetune(), board_.QueuePlaces());
}

absl::StatusOr<v1::EvalJob> JobSchedulerImpl::CancelEval(const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string full, FullName("evalJobs", name));
  ASSIGN_OR_RETURN(const JobRecord record, Cancel(tenant, full));
  return Present(tenant, record.eval(), board_.QueuePlaces());
}

absl::StatusOr<std::vector<v1::JobEvent>> JobSchedulerImpl::Events(const std::string& tenant, const std::string& name,
                                                                   int64_t after, int limit) {
  JobEvents events;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    RETURN_IF_ERROR(LoadJob(snapshot, tenant, name).status());
    ASSIGN_OR_RETURN(events, LoadJobEvents(snapshot, tenant, name, after, limit));
    return absl::OkStatus();
  }));
  return events;
}

uint64_t JobSchedulerImpl::Watch(const std::string& tenant, const std::string& name, std::function<void()> changed) {
  return watchers_.Add({tenant, name}, std::move(changed));
}

}  // namespace tenon::server
