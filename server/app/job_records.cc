#include "server/app/job_records.h"

#include "common/formats/status.h"
#include "common/ids.h"

namespace tenon::server {
namespace {

constexpr char kFinetuneCollection[] = "finetuneJobs";
constexpr char kEvalCollection[] = "evalJobs";

absl::Status NoJob(const std::string& name) { return TenonError(Reason::kNotFound, "there is no job " + name, "name"); }

absl::StatusOr<Record> ToRecord(const JobRecord& job) {
  ASSIGN_OR_RETURN(const auto kind_and_id, SplitJobName(JobName(job)));
  const auto& created = job.has_eval() ? job.eval().create_time() : job.finetune().create_time();
  Record record;
  record.tenant = job.tenant();
  record.kind = kind_and_id.first;
  record.id = kind_and_id.second;
  record.state = v1::JobState_Name(JobStateOf(job));
  record.term = JobTerm(job);
  record.create_time = absl::FromUnixSeconds(created.seconds()) + absl::Nanoseconds(created.nanos());
  record.body = job.SerializeAsString();
  return record;
}

absl::Status Append(Transaction& transaction, const JobRecord& job, const JobEvents& events) {
  for (v1::JobEvent event : events) {
    event.clear_sequence();  // the store's
    RETURN_IF_ERROR(transaction.AppendEvent(job.tenant(), JobName(job), event.SerializeAsString()).status());
  }
  return absl::OkStatus();
}

// Calls `take` with every record of a list, page by page.
template <typename Take>
absl::Status ForAll(Snapshot& snapshot, ListQuery query, const Take& take) {
  query.limit = 1000;
  while (true) {
    ASSIGN_OR_RETURN(const ListPage page, snapshot.List(query));
    for (const Record& record : page.records) {
      ASSIGN_OR_RETURN(JobRecord job, ParseJob(record));
      take(std::move(job));
    }
    if (page.next_page_token.empty()) return absl::OkStatus();
    query.page_token = page.next_page_token;
  }
}

}  // namespace

absl::StatusOr<std::pair<std::string, std::string>> SplitJobName(const std::string& name) {
  const size_t slash = name.find('/');
  const std::string collection = name.substr(0, slash);
  const std::string id = slash == std::string::npos ? "" : name.substr(slash + 1);
  if (IsValidId(id) && collection == kFinetuneCollection) return std::make_pair(std::string(kFinetuneKind), id);
  if (IsValidId(id) && collection == kEvalCollection) return std::make_pair(std::string(kEvalKind), id);
  return NoJob(name);
}

absl::StatusOr<JobRecord> ParseJob(const Record& record) {
  JobRecord job;
  if (job.ParseFromString(record.body)) return job;
  return TenonError(Reason::kInternal, "the stored job " + record.id + " cannot be read");
}

absl::StatusOr<JobRecord> LoadJob(Snapshot& snapshot, const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(const auto kind_and_id, SplitJobName(name));
  const absl::StatusOr<Record> record = snapshot.Get(tenant, kind_and_id.first, kind_and_id.second);
  if (absl::IsNotFound(record.status())) return NoJob(name);
  if (!record.ok()) return record.status();
  return ParseJob(*record);
}

absl::Status InsertJob(Transaction& transaction, const JobRecord& job, const JobEvents& events) {
  ASSIGN_OR_RETURN(const Record record, ToRecord(job));
  const absl::Status inserted = transaction.Insert(record);
  if (absl::IsAlreadyExists(inserted)) {
    return TenonError(Reason::kAlreadyExists, "the job " + JobName(job) + " exists",
                      job.has_eval() ? "eval_job_id" : "finetune_job_id");
  }
  RETURN_IF_ERROR(inserted);
  return Append(transaction, job, events);
}

absl::Status SaveJob(Transaction& transaction, const JobRecord& job, const JobEvents& events, int64_t loaded_term) {
  ASSIGN_OR_RETURN(const Record record, ToRecord(job));
  RETURN_IF_ERROR(transaction.Update(record, loaded_term));
  return Append(transaction, job, events);
}

absl::StatusOr<JobEvents> LoadJobEvents(Snapshot& snapshot, const std::string& tenant, const std::string& name,
                                        int64_t after, int limit) {
  ASSIGN_OR_RETURN(const std::vector<EventRecord> records, snapshot.Events(tenant, name, after, limit));
  JobEvents events;
  for (const EventRecord& record : records) {
    v1::JobEvent event;
    if (!event.ParseFromString(record.body)) {
      return TenonError(Reason::kInternal, "the history of " + name + " cannot be read");
    }
    event.set_sequence(record.sequence);
    events.push_back(std::move(event));
  }
  return events;
}

absl::StatusOr<std::vector<JobRecord>> LoadJobsInState(Snapshot& snapshot, v1::JobState state) {
  std::vector<JobRecord> jobs;
  for (const char* kind : {kFinetuneKind, kEvalKind}) {
    ListQuery query;
    query.kind = kind;
    query.state = v1::JobState_Name(state);
    RETURN_IF_ERROR(ForAll(snapshot, query, [&](JobRecord job) { jobs.push_back(std::move(job)); }));
  }
  return jobs;
}

absl::StatusOr<std::vector<JobRecord>> LoadJobsNamed(Snapshot& snapshot, const std::string& name) {
  ASSIGN_OR_RETURN(const auto kind_and_id, SplitJobName(name));
  ListQuery query;
  query.kind = kind_and_id.first;
  query.id = kind_and_id.second;
  std::vector<JobRecord> jobs;
  RETURN_IF_ERROR(ForAll(snapshot, query, [&](JobRecord job) { jobs.push_back(std::move(job)); }));
  return jobs;
}

}  // namespace tenon::server
