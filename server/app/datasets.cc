#include "server/app/datasets.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/dataset_kind.h"
#include "common/digest.h"
#include "common/formats/status.h"
#include "common/ids.h"
#include "server/app/catalog_requests.h"
#include "server/catalog/catalog.h"
#include "server/catalog/records.h"

namespace tenon::server {
namespace {

absl::StatusOr<v1::Dataset> Describe(const std::string& bytes, const v1::UploadDatasetRequest::Header& header) {
  ASSIGN_OR_RETURN(const auto row_format, ToFormat(header.format(), "header.format"));
  ASSIGN_OR_RETURN(const formats::Dataset rows, formats::ReadDataset(bytes, row_format, {}, RowKind(header.kind())));
  v1::Dataset dataset;
  dataset.set_kind(ToKind(rows.kind));
  dataset.mutable_fields()->Assign(rows.fields.begin(), rows.fields.end());
  dataset.set_row_count(rows.row_count());
  dataset.mutable_labels()->Assign(rows.labels.begin(), rows.labels.end());
  dataset.set_multi_label(rows.multi_label);
  dataset.set_pair_count(rows.pair_count);
  dataset.set_value_count(static_cast<int32_t>(rows.value_count));
  dataset.set_size_bytes(static_cast<int64_t>(bytes.size()));
  dataset.set_sha256(Sha256Hex(bytes));
  dataset.mutable_warnings()->Assign(rows.warnings.begin(), rows.warnings.end());
  return dataset;
}

absl::Status CheckHeader(const v1::UploadDatasetRequest& first) {
  if (!first.has_header()) {
    return TenonError(Reason::kFieldRequired, "the first message must be the header", "header");
  }
  const auto& header = first.header();
  RETURN_IF_ERROR(ToFormat(header.format(), "header.format").status());
  if (!v1::DatasetKind_IsValid(header.kind())) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat("kind ", static_cast<int>(header.kind()), " is not known"),
                      "header.kind");
  }
  if (header.dataset_id().empty()) {
    if (header.validate_only()) return absl::OkStatus();
    return TenonError(Reason::kFieldRequired, "dataset_id is required", "header.dataset_id");
  }
  return CheckId(header.dataset_id(), "header.dataset_id");
}

}  // namespace

class Datasets::Reservation {
 public:
  explicit Reservation(Datasets* owner) : owner_(owner) {}
  ~Reservation() {
    absl::MutexLock lock(&owner_->mutex_);
    owner_->buffered_ -= bytes_;
  }
  absl::Status Add(int64_t bytes) {
    if (bytes_ + bytes > owner_->options_.max_bytes) {
      return TenonError(Reason::kTooLarge,
                        absl::StrCat("a data set has at most ", owner_->options_.max_bytes, " bytes"), "chunk");
    }
    absl::MutexLock lock(&owner_->mutex_);
    if (owner_->buffered_ + bytes > owner_->options_.max_buffered) {
      return TenonError(Reason::kQueueFull, "too many uploads at a time; try again");
    }
    owner_->buffered_ += bytes;
    bytes_ += bytes;
    return absl::OkStatus();
  }

 private:
  Datasets* const owner_;
  int64_t bytes_ = 0;
};

absl::StatusOr<v1::UploadDatasetResponse> Datasets::Upload(const CallScope& scope,
                                                           const MessageSource<v1::UploadDatasetRequest>& read) {
  v1::UploadDatasetRequest message;
  if (!read(&message)) return TenonError(Reason::kFieldRequired, "the upload is empty", "header");
  RETURN_IF_ERROR(CheckHeader(message));
  const v1::UploadDatasetRequest::Header header = message.header();

  Reservation reservation(this);
  std::string bytes;
  while (read(&message)) {
    if (!message.has_chunk()) return TenonError(Reason::kFieldInvalid, "behind the header come chunks", "chunk");
    if (message.chunk().size() > kMaxChunk) {
      return TenonError(Reason::kFieldInvalid, absl::StrCat("a chunk has at most ", kMaxChunk, " bytes"), "chunk");
    }
    RETURN_IF_ERROR(reservation.Add(static_cast<int64_t>(message.chunk().size())));
    bytes += message.chunk();
  }
  // A stream that broke off looks like one that ended.
  if (scope.cancelled && scope.cancelled()) return TenonError(Reason::kCancelled, "the upload was broken off");

  v1::UploadDatasetResponse response;
  ASSIGN_OR_RETURN(v1::Dataset dataset, Describe(bytes, header));
  if (!header.dataset_id().empty()) dataset.set_name("datasets/" + header.dataset_id());
  if (header.validate_only()) {
    *response.mutable_dataset() = std::move(dataset);
    return response;
  }
  RETURN_IF_ERROR(WriteBlob(*parts_.blobs, bytes, dataset.sha256()));
  ASSIGN_OR_RETURN(*response.mutable_dataset(), Insert(scope.tenant, header, dataset));
  return response;
}

absl::StatusOr<v1::Dataset> Datasets::Insert(const std::string& tenant, const v1::UploadDatasetRequest::Header& header,
                                             const v1::Dataset& dataset) {
  const absl::Time now = parts_.clock->Now();
  const std::string& id = header.dataset_id();
  v1::Dataset stored;
  RETURN_IF_ERROR(parts_.store->Write([&](Transaction& transaction) -> absl::Status {
    const std::string digest = Sha256Hex(RequestDigest(header) + dataset.sha256());
    RETURN_IF_ERROR(
        ClaimCreate(transaction, tenant, "UploadDataset", header.request_id(), digest, dataset.name()).status());
    const absl::StatusOr<Record> existing = transaction.Get(tenant, kDatasetKind, id);
    if (existing.ok()) {
      ASSIGN_OR_RETURN(auto record, ParseBody<internal::v1::DatasetRecord>(*existing));
      const bool same = record.dataset().sha256() == dataset.sha256() && record.format() == header.format();
      if (same && record.dataset().kind() != dataset.kind()) {
        return TenonError(Reason::kAlreadyExists,
                          absl::StrCat("data set '", id, "' exists already, read as another kind"),
                          "header.dataset_id");
      }
      if (!same) {
        return TenonError(Reason::kAlreadyExists, absl::StrCat("data set '", id, "' exists already with other bytes"),
                          "header.dataset_id");
      }
      stored = std::move(*record.mutable_dataset());
      return absl::OkStatus();
    }
    if (!absl::IsNotFound(existing.status())) return existing.status();
    internal::v1::DatasetRecord record;
    *record.mutable_dataset() = dataset;
    *record.mutable_dataset()->mutable_create_time() = ToTimestamp(now);
    record.set_format(header.format());
    stored = record.dataset();
    return transaction.Insert(MakeRecord(tenant, kDatasetKind, id, "", now, record));
  }));
  return stored;
}

absl::StatusOr<v1::Dataset> Datasets::Get(const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, ParseName("datasets", name, "name"));
  v1::Dataset dataset;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(dataset, ReadDatasetRecord(snapshot, tenant, id));
    return absl::OkStatus();
  }));
  return dataset;
}

absl::StatusOr<v1::ListDatasetsResponse> Datasets::List(const std::string& tenant,
                                                        const v1::ListDatasetsRequest& request) {
  ListQuery query;
  query.tenant = tenant;
  query.kind = kDatasetKind;
  query.page_token = request.page_token();
  ASSIGN_OR_RETURN(query.limit, PageSize(request.page_size()));
  v1::ListDatasetsResponse response;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(const ListPage page, snapshot.List(query));
    for (const Record& record : page.records) {
      ASSIGN_OR_RETURN(auto stored, ParseBody<internal::v1::DatasetRecord>(record));
      *response.add_datasets() = std::move(*stored.mutable_dataset());
    }
    response.set_next_page_token(page.next_page_token);
    return absl::OkStatus();
  }));
  return response;
}

absl::Status Datasets::Delete(const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, ParseName("datasets", name, "name"));
  return parts_.store->Write([&](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(GetRecord(transaction, tenant, kDatasetKind, id, "data set", "name").status());
    RETURN_IF_ERROR(CheckDatasetUnused(transaction, tenant, id));
    return transaction.Delete(tenant, kDatasetKind, id);
  });
}

absl::StatusOr<formats::DatasetFormat> ToFormat(v1::DatasetFormat format, const std::string& field) {
  switch (format) {
    case v1::DATASET_FORMAT_JSONL:
      return formats::DatasetFormat::kJsonLines;
    case v1::DATASET_FORMAT_CSV:
      return formats::DatasetFormat::kCsv;
    case v1::DATASET_FORMAT_TSV:
      return formats::DatasetFormat::kTsv;
    default:
      return TenonError(Reason::kFieldRequired, field + " is required: JSONL, CSV or TSV", field);
  }
}

absl::Status WriteBlob(BlobStore& blobs, const std::string& bytes, const std::string& sha256) {
  constexpr size_t kPiece = 1 << 20;
  ASSIGN_OR_RETURN(const auto writer, blobs.Create(static_cast<int64_t>(bytes.size())));
  for (size_t at = 0; at < bytes.size(); at += kPiece) RETURN_IF_ERROR(writer->Append(bytes.substr(at, kPiece)));
  return writer->Commit(sha256).status();
}

}  // namespace tenon::server
