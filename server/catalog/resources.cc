// Bases and data sets as records.
#include <algorithm>
#include <utility>

#include "common/digest.h"
#include "server/catalog/catalog.h"
#include "server/catalog/records.h"

namespace tenon::server {

absl::StatusOr<v1::Base> ReadBase(Snapshot& snapshot, const std::string& tenant, const std::string& id) {
  ASSIGN_OR_RETURN(const Record record, GetRecord(snapshot, tenant, kBaseKind, id, "base", "name"));
  ASSIGN_OR_RETURN(auto stored, ParseBody<internal::v1::BaseRecord>(record));
  return std::move(*stored.mutable_base());
}

absl::StatusOr<std::string> PutBase(Transaction& transaction, const std::string& tenant, const NewBase& from,
                                    absl::Time now) {
  ASSIGN_OR_RETURN(const Record parent, GetRecord(transaction, tenant, kBaseKind, from.made_of, "base", "name"));
  ASSIGN_OR_RETURN(auto record, ParseBody<internal::v1::BaseRecord>(parent));
  v1::Base& base = *record.mutable_base();
  base.set_name("bases/" + from.id);
  *base.mutable_create_time() = ToTimestamp(now);
  base.mutable_files()->Assign(from.files.begin(), from.files.end());
  base.set_size_bytes(0);
  std::vector<std::string> digests;
  for (const v1::FileEntry& file : from.files) {
    base.set_size_bytes(base.size_bytes() + file.size_bytes());
    digests.push_back(file.sha256());
  }
  base.set_digest(ManifestDigest(std::move(digests)));
  record.mutable_labels()->Assign(from.labels.begin(), from.labels.end());
  record.set_multi_label(from.multi_label);
  record.set_regression(from.regression);
  if (!from.labels.empty()) {
    // Its head stands in place of one that the parent may have.
    const auto is_head = [](int task) {
      return task == v1::TASK_SEQUENCE_CLASSIFICATION || task == v1::TASK_TOKEN_CLASSIFICATION ||
             task == v1::TASK_QUESTION_ANSWERING;
    };
    auto& tasks = *base.mutable_tasks();
    tasks.erase(std::remove_if(tasks.begin(), tasks.end(), is_head), tasks.end());
    base.add_tasks(from.task);
  }
  RETURN_IF_ERROR(transaction.Insert(MakeRecord(tenant, kBaseKind, from.id, "", now, record)));
  return base.name();
}

absl::StatusOr<v1::Dataset> ReadDatasetRecord(Snapshot& snapshot, const std::string& tenant, const std::string& id) {
  ASSIGN_OR_RETURN(const Record record, GetRecord(snapshot, tenant, kDatasetKind, id, "data set", "name"));
  ASSIGN_OR_RETURN(auto stored, ParseBody<internal::v1::DatasetRecord>(record));
  return std::move(*stored.mutable_dataset());
}

absl::StatusOr<v1::DatasetFormat> ReadDatasetFormat(Snapshot& snapshot, const std::string& tenant,
                                                    const std::string& id) {
  ASSIGN_OR_RETURN(const Record record, GetRecord(snapshot, tenant, kDatasetKind, id, "data set", "name"));
  ASSIGN_OR_RETURN(const auto stored, ParseBody<internal::v1::DatasetRecord>(record));
  return stored.format();
}

}  // namespace tenon::server
