// Bases and data sets as records.
#include "server/catalog/catalog.h"
#include "server/catalog/records.h"

namespace tenon::server {

absl::StatusOr<v1::Base> ReadBase(Snapshot& snapshot, const std::string& tenant, const std::string& id) {
  ASSIGN_OR_RETURN(const Record record, GetRecord(snapshot, tenant, kBaseKind, id, "base", "name"));
  ASSIGN_OR_RETURN(auto stored, ParseBody<internal::v1::BaseRecord>(record));
  return std::move(*stored.mutable_base());
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
