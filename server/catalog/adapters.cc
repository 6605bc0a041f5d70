
#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/formats/adapter_config.h"
#include "server/catalog/catalog.h"
#include "server/catalog/records.h"

namespace tenon::server {
namespace {

constexpr int64_t kMaxTenonJsonBytes = 16 << 20;

std::string RevisionName(const std::string& adapter_id, const std::string& digest) {
  return absl::StrCat("adapters/", adapter_id, "/revisions/", digest);
}

// What `adapters/{id}` alone means, and says of itself, is the default revision.
void PointTo(const NewRevision& revision, const std::string& digest, v1::Adapter* adapter) {
  adapter->set_default_revision(RevisionName(revision.adapter_id, digest));
  adapter->set_task(revision.task);
  adapter->set_method(revision.method);
  adapter->mutable_labels()->Assign(revision.labels.begin(), revision.labels.end());
}

internal::v1::RevisionRecord MakeRevision(const NewRevision& from, const std::string& digest, absl::Time now) {
  internal::v1::RevisionRecord record;
  record.set_task(from.task);
  record.set_multi_label(from.multi_label);
  record.set_regression(from.regression);
  v1::AdapterRevision& revision = *record.mutable_revision();
  revision.set_name(RevisionName(from.adapter_id, digest));
  revision.set_digest(digest);
  for (const v1::FileEntry& file : from.files) *revision.add_files() = file;
  *revision.mutable_create_time() = ToTimestamp(now);
  revision.set_job(from.job);
  revision.mutable_labels()->Assign(from.labels.begin(), from.labels.end());
  revision.set_method(from.method);
  if (from.text_template.has_value()) *revision.mutable_text_template() = *from.text_template;
  return record;
}

}  // namespace

absl::StatusOr<std::string> RevisionDigest(BlobStore& blobs, const std::vector<v1::FileEntry>& files) {
  std::vector<std::string> digests;
  for (const v1::FileEntry& file : files) {
    std::string digest = file.sha256();
    if (file.path() == "tenon.json") {
      ASSIGN_OR_RETURN(const std::string text, blobs.ReadAll(file.sha256(), kMaxTenonJsonBytes));
      ASSIGN_OR_RETURN(const formats::TenonConfig config, formats::ParseTenonConfig(text));
      digest = Sha256Hex(formats::WriteTenonConfig(config, /*with_job=*/false));
    }
    digests.push_back(std::move(digest));
  }
  return ManifestDigest(std::move(digests));
}

absl::Status CheckAdapterBinding(Snapshot& snapshot, const std::string& tenant, const std::string& adapter_id,
                                 const std::string& base_digest, v1::Task task) {
  const absl::StatusOr<Record> record = snapshot.Get(tenant, kAdapterKind, adapter_id);
  if (absl::IsNotFound(record.status())) return absl::OkStatus();
  RETURN_IF_ERROR(record.status());
  ASSIGN_OR_RETURN(const auto stored, ParseBody<internal::v1::AdapterRecord>(*record));
  if (stored.adapter().base_digest() != base_digest) {
    return TenonError(Reason::kBaseMismatch,
                      absl::StrCat("adapter '", adapter_id, "' is bound to ", stored.adapter().base(), " (",
                                   stored.adapter().base_digest(), "), not to ", base_digest),
                      "base");
  }
  if (task == v1::TASK_UNSPECIFIED || stored.adapter().task() == task) return absl::OkStatus();
  return TenonError(Reason::kTaskMismatch,
                    absl::StrCat("adapter '", adapter_id, "' is for ", v1::Task_Name(stored.adapter().task()),
                                 ", not for ", v1::Task_Name(task), "; give the new one another id"),
                    "task");
}

absl::StatusOr<std::string> PutRevision(Transaction& transaction, const std::string& tenant,
                                        const NewRevision& revision, absl::Time now) {
  RETURN_IF_ERROR(CheckAdapterBinding(transaction, tenant, revision.adapter_id, revision.base_digest, revision.task));
  std::string digest = revision.digest;
  if (digest.empty()) {
    std::vector<std::string> digests;
    for (const v1::FileEntry& file : revision.files) digests.push_back(file.sha256());
    digest = ManifestDigest(std::move(digests));
  }

  internal::v1::AdapterRecord adapter;
  absl::StatusOr<Record> record = transaction.Get(tenant, kAdapterKind, revision.adapter_id);
  if (record.ok()) {
    ASSIGN_OR_RETURN(adapter, ParseBody<internal::v1::AdapterRecord>(*record));
    PointTo(revision, digest, adapter.mutable_adapter());
    record->body = adapter.SerializeAsString();
    RETURN_IF_ERROR(transaction.Update(*record, std::nullopt));
  } else if (absl::IsNotFound(record.status())) {
    v1::Adapter& fresh = *adapter.mutable_adapter();
    fresh.set_name("adapters/" + revision.adapter_id);
    fresh.set_base(revision.base);
    fresh.set_base_digest(revision.base_digest);
    *fresh.mutable_create_time() = ToTimestamp(now);
    PointTo(revision, digest, &fresh);
    RETURN_IF_ERROR(transaction.Insert(MakeRecord(tenant, kAdapterKind, revision.adapter_id, "", now, adapter)));
  } else {
    return record.status();
  }

  const std::string key = absl::StrCat(revision.adapter_id, "/", digest);
  const absl::StatusOr<Record> existing = transaction.Get(tenant, kRevisionKind, key);
  if (absl::IsNotFound(existing.status())) {
    RETURN_IF_ERROR(transaction.Insert(
        MakeRecord(tenant, kRevisionKind, key, revision.adapter_id, now, MakeRevision(revision, digest, now))));
  } else {
    RETURN_IF_ERROR(existing.status());
  }
  return RevisionName(revision.adapter_id, digest);
}

absl::StatusOr<v1::Adapter> ReadAdapter(Snapshot& snapshot, const std::string& tenant, const std::string& id) {
  ASSIGN_OR_RETURN(const Record record, GetRecord(snapshot, tenant, kAdapterKind, id, "adapter", "name"));
  ASSIGN_OR_RETURN(auto stored, ParseBody<internal::v1::AdapterRecord>(record));
  ListQuery query;
  query.tenant = tenant;
  query.kind = kRevisionKind;
  query.parent = id;
  RETURN_IF_ERROR(ForEachRecord(snapshot, query, [&](const Record& item) -> absl::Status {
    ASSIGN_OR_RETURN(auto revision, ParseBody<internal::v1::RevisionRecord>(item));
    *stored.mutable_adapter()->add_revisions() = std::move(*revision.mutable_revision());
    return absl::OkStatus();
  }));
  return std::move(*stored.mutable_adapter());
}

absl::Status DeleteAdapterRecords(Transaction& transaction, const std::string& tenant, const std::string& id) {
  RETURN_IF_ERROR(GetRecord(transaction, tenant, kAdapterKind, id, "adapter", "name").status());
  std::vector<std::string> keys;
  ListQuery query;
  query.tenant = tenant;
  query.kind = kRevisionKind;
  query.parent = id;
  RETURN_IF_ERROR(ForEachRecord(transaction, query, [&](const Record& record) {
    keys.push_back(record.id);
    return absl::OkStatus();
  }));
  for (const std::string& key : keys) RETURN_IF_ERROR(transaction.Delete(tenant, kRevisionKind, key));
  return transaction.Delete(tenant, kAdapterKind, id);
}

}  // namespace tenon::server
