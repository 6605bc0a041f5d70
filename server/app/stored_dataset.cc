#include "server/app/stored_dataset.h"

#include <utility>

#include "common/formats/status.h"
#include "server/catalog/catalog.h"

namespace tenon::server {

std::string IdOf(const std::string& name) { return name.substr(name.find('/') + 1); }

absl::Status AtField(const absl::Status& status, const std::string& field) {
  if (GetReason(status) == Reason::kUnspecified) return status;
  return TenonError(GetReason(status), std::string(status.message()), field);
}

absl::StatusOr<StoredDataset> FindDataset(Snapshot& snapshot, const std::string& tenant, const std::string& name,
                                          const std::string& field) {
  StoredDataset found;
  auto dataset = ReadDatasetRecord(snapshot, tenant, IdOf(name));
  if (!dataset.ok()) return AtField(dataset.status(), field);
  ASSIGN_OR_RETURN(const v1::DatasetFormat format, ReadDatasetFormat(snapshot, tenant, IdOf(name)));
  found.ref.set_sha256(dataset->sha256());
  found.ref.set_format(format);
  found.ref.set_kind(dataset->kind());
  found.dataset = *std::move(dataset);
  return found;
}

formats::DatasetFormat RowFormat(const internal::v1::DatasetRef& ref) {
  if (ref.format() == v1::DATASET_FORMAT_CSV) return formats::DatasetFormat::kCsv;
  if (ref.format() == v1::DATASET_FORMAT_TSV) return formats::DatasetFormat::kTsv;
  return formats::DatasetFormat::kJsonLines;
}

}  // namespace tenon::server
