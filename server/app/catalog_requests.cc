#include "server/app/catalog_requests.h"

#include <algorithm>
#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "server/catalog/records.h"
#include "tenon/internal/v1/job_record.pb.h"

namespace tenon::server {
namespace {

constexpr size_t kMaxRequestId = 128;

absl::Status InUse(const std::string& what, const std::string& by) {
  return TenonError(Reason::kInUse, absl::StrCat(what, " is used by ", by), "name");
}

ListQuery All(const std::string& tenant, const std::string& kind) {
  ListQuery query;
  query.tenant = tenant;
  query.kind = kind;
  return query;
}

// Visits the jobs of the tenant that are not final.
absl::Status ForEachOpenJob(
    Snapshot& snapshot, const std::string& tenant,
    const std::function<absl::Status(const std::string& name, const internal::v1::JobRecord& job)>& visit) {
  for (const char* kind : {"finetune_job", "eval_job"}) {
    for (const v1::JobState state : {v1::JOB_STATE_VALIDATING, v1::JOB_STATE_QUEUED, v1::JOB_STATE_RUNNING}) {
      ListQuery query = All(tenant, kind);
      query.state = v1::JobState_Name(state);  // by its index: the finished ones may be very many
      RETURN_IF_ERROR(ForEachRecord(snapshot, query, [&](const Record& record) -> absl::Status {
        ASSIGN_OR_RETURN(const auto job, ParseBody<internal::v1::JobRecord>(record));
        return visit(job.has_finetune() ? job.finetune().name() : job.eval().name(), job);
      }));
    }
  }
  return absl::OkStatus();
}

// Visits the tenant's collections.
absl::Status ForEachCollection(Snapshot& snapshot, const std::string& tenant,
                               const std::function<absl::Status(const v1::Collection&)>& visit) {
  return ForEachRecord(snapshot, All(tenant, kCollectionKind), [&](const Record& record) -> absl::Status {
    ASSIGN_OR_RETURN(const auto stored, ParseBody<internal::v1::CollectionRecord>(record));
    return visit(stored.collection());
  });
}

}  // namespace

absl::StatusOr<std::optional<std::string>> ClaimCreate(Transaction& transaction, const std::string& tenant,
                                                       const std::string& method, const std::string& request_id,
                                                       const std::string& digest, const std::string& resource) {
  if (request_id.empty()) return std::nullopt;
  if (request_id.size() > kMaxRequestId) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat("request_id is longer than ", kMaxRequestId, " bytes"),
                      "request_id");
  }
  return transaction.ClaimRequest(tenant, method, request_id, digest, resource);
}

std::string RequestDigest(const google::protobuf::Message& request) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    request.SerializeToCodedStream(&coded);
  }
  return Sha256Hex(bytes);
}

absl::Status CheckFree(Snapshot& snapshot, const std::string& tenant, const std::string& kind, const std::string& id,
                       const std::string& what, const std::string& field) {
  const absl::Status found = snapshot.Get(tenant, kind, id).status();
  if (absl::IsNotFound(found)) return absl::OkStatus();
  RETURN_IF_ERROR(found);
  return TenonError(Reason::kAlreadyExists, absl::StrCat(what, " '", id, "' exists already"), field);
}

absl::Status CheckBaseUnused(Snapshot& snapshot, const std::string& tenant, const std::string& id) {
  const std::string name = "bases/" + id;
  RETURN_IF_ERROR(ForEachRecord(snapshot, All(tenant, kAdapterKind), [&](const Record& record) -> absl::Status {
    ASSIGN_OR_RETURN(const auto stored, ParseBody<internal::v1::AdapterRecord>(record));
    return stored.adapter().base() == name ? InUse(name, stored.adapter().name()) : absl::OkStatus();
  }));
  RETURN_IF_ERROR(ForEachCollection(snapshot, tenant, [&](const v1::Collection& collection) {
    return collection.model().base() == name ? InUse(name, collection.name()) : absl::OkStatus();
  }));
  return ForEachOpenJob(snapshot, tenant, [&](const std::string& job_name, const internal::v1::JobRecord& job) {
    const auto& measured = job.eval().seq2seq().models();
    const bool alone = std::find(measured.begin(), measured.end(), name) != measured.end();
    return job.finetune().base() == name || alone ? InUse(name, job_name) : absl::OkStatus();
  });
}

absl::Status CheckAdapterUnused(Snapshot& snapshot, const std::string& tenant, const std::string& id) {
  const std::string name = "adapters/" + id;
  RETURN_IF_ERROR(ForEachCollection(snapshot, tenant, [&](const v1::Collection& collection) {
    return collection.model().adapter() == name ? InUse(name, collection.name()) : absl::OkStatus();
  }));
  return ForEachOpenJob(snapshot, tenant, [&](const std::string& job_name, const internal::v1::JobRecord& job) {
    if (job.has_finetune() && job.finetune().adapter() == name) return InUse(name, job_name);
    const v1::EvalJob& eval = job.eval();
    for (const std::string& adapter : eval.has_seq2seq() ? eval.seq2seq().models() : eval.classification().adapters()) {
      if (adapter == id || adapter == name || absl::StartsWith(adapter, name + "/")) return InUse(name, job_name);
    }
    return absl::OkStatus();
  });
}

absl::Status CheckDatasetUnused(Snapshot& snapshot, const std::string& tenant, const std::string& id) {
  const std::string name = "datasets/" + id;
  return ForEachOpenJob(snapshot, tenant, [&](const std::string& job_name, const internal::v1::JobRecord& job) {
    const v1::EvalJob& eval = job.eval();
    for (const std::string& used :
         {job.finetune().train_dataset(), job.finetune().validation_dataset(), eval.classification().dataset(),
          eval.seq2seq().dataset(), eval.retrieval().queries(), eval.retrieval().qrels()}) {
      if (used == name || used == id) return InUse(name, job_name);
    }
    return absl::OkStatus();
  });
}

absl::Status CheckCollectionUnused(Snapshot& snapshot, const std::string& tenant, const std::string& id) {
  const std::string name = "collections/" + id;
  return ForEachOpenJob(snapshot, tenant, [&](const std::string& job_name, const internal::v1::JobRecord& job) {
    const std::string& used = job.eval().retrieval().collection();
    return used == name || used == id ? InUse(name, job_name) : absl::OkStatus();
  });
}

}  // namespace tenon::server
