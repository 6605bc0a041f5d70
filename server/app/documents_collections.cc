#include "server/app/documents_collections.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "common/formats/utf8.h"
#include "common/ids.h"
#include "server/app/catalog_requests.h"
#include "server/catalog/records.h"

namespace tenon::server {
namespace {

constexpr size_t kMaxPrefixBytes = 1024;

absl::Status CheckPrefix(const std::string& prefix, const std::string& field) {
  if (prefix.size() > kMaxPrefixBytes) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat(field, " is longer than ", kMaxPrefixBytes, " bytes"), field);
  }
  if (!formats::IsValidUtf8(prefix)) return TenonError(Reason::kTextNotUtf8, field + " is not valid UTF-8", field);
  return absl::OkStatus();
}

// What the client may choose, checked, with defaults filled in; the rest is left out.
absl::StatusOr<v1::Collection> TakeChoices(const v1::Collection& asked) {
  if (!v1::Pooling_IsValid(asked.pooling())) {
    return TenonError(Reason::kFieldInvalid, "unknown pooling", "collection.pooling");
  }
  if (!v1::VectorMetric_IsValid(asked.metric())) {
    return TenonError(Reason::kFieldInvalid, "unknown metric", "collection.metric");
  }
  if (!v1::IndexKind_IsValid(asked.index_kind())) {
    return TenonError(Reason::kFieldInvalid, "unknown index kind", "collection.index_kind");
  }
  RETURN_IF_ERROR(CheckPrefix(asked.document_prefix(), "collection.document_prefix"));
  RETURN_IF_ERROR(CheckPrefix(asked.query_prefix(), "collection.query_prefix"));
  v1::Collection collection;
  collection.set_pooling(asked.pooling());
  collection.set_metric(asked.metric() == v1::VECTOR_METRIC_UNSPECIFIED ? v1::VECTOR_METRIC_COSINE : asked.metric());
  collection.set_index_kind(asked.index_kind() == v1::INDEX_KIND_UNSPECIFIED ? v1::INDEX_KIND_FLAT
                                                                             : asked.index_kind());
  collection.set_document_prefix(asked.document_prefix());
  collection.set_query_prefix(asked.query_prefix());
  return collection;
}

absl::StatusOr<internal::v1::CollectionRecord> ReadCollection(Snapshot& snapshot, const std::string& tenant,
                                                              const std::string& id, const std::string& field) {
  ASSIGN_OR_RETURN(const Record record, GetRecord(snapshot, tenant, kCollectionKind, id, "collection", field));
  return ParseBody<internal::v1::CollectionRecord>(record);
}

// The resource with what is counted, not kept.
absl::StatusOr<v1::Collection> ToResource(Snapshot& snapshot, const std::string& tenant,
                                          internal::v1::CollectionRecord record) {
  ASSIGN_OR_RETURN(const int64_t count, snapshot.CountDocuments(tenant, record.document_space()));
  record.mutable_collection()->set_document_count(count);
  return std::move(*record.mutable_collection());
}

// Pins the encoder in the transaction that stores the collection, so that it cannot be deleted between.
absl::Status PinEncoder(Snapshot& snapshot, const std::string& tenant, const ResolvedModel& model,
                        internal::v1::CollectionRecord* record) {
  v1::Collection& collection = *record->mutable_collection();
  *collection.mutable_model() = model.version;
  ASSIGN_OR_RETURN(const std::string base_id, ParseName("bases", model.version.base(), "collection.base"));
  ASSIGN_OR_RETURN(const Record base_record,
                   GetRecord(snapshot, tenant, kBaseKind, base_id, "base", "collection.base"));
  ASSIGN_OR_RETURN(const auto base, ParseBody<internal::v1::BaseRecord>(base_record));
  if (base.base().digest() != model.version.base_digest()) {
    return TenonError(Reason::kNotFound, absl::StrCat("base '", base_id, "' was replaced meanwhile"),
                      "collection.base");
  }
  collection.set_dimensions(base.base().hidden_size());
  if (model.version.adapter().empty()) {
    collection.set_base(model.version.base());
    if (collection.pooling() == v1::POOLING_UNSPECIFIED) collection.set_pooling(base.pooling());
    return absl::OkStatus();
  }
  collection.set_adapter(model.version.adapter());
  for (const v1::FileEntry& file : model.adapter_files) *record->add_adapter_files() = file;
  ASSIGN_OR_RETURN(const std::string adapter_id, ParseName("adapters", model.version.adapter(), "collection.adapter"));
  return GetRecord(snapshot, tenant, kRevisionKind, absl::StrCat(adapter_id, "/", model.version.revision()),
                   "adapter revision", "collection.adapter")
      .status();
}

}  // namespace

absl::StatusOr<v1::Collection> Collections::Create(const std::string& tenant,
                                                   const v1::CreateCollectionRequest& request) {
  if (request.collection_id().empty()) {
    return TenonError(Reason::kFieldRequired, "collection_id is required", "collection_id");
  }
  const std::string& id = request.collection_id();
  RETURN_IF_ERROR(CheckId(id, "collection_id"));
  internal::v1::CollectionRecord record;
  ASSIGN_OR_RETURN(*record.mutable_collection(), TakeChoices(request.collection()));
  record.set_document_space(RandomId(20));
  absl::StatusOr<ResolvedModel> model = absl::UnknownError("");
  switch (request.collection().encoder_case()) {
    case v1::Collection::kBase:
      model = parts_.models->ResolveBase(tenant, request.collection().base(), "collection.base");
      break;
    case v1::Collection::kAdapter:
      model = parts_.models->ResolveAdapter(tenant, request.collection().adapter(), "collection.adapter");
      break;
    default:
      return TenonError(Reason::kFieldRequired, "the collection's encoder is required: a base or an adapter",
                        "collection.base");
  }
  RETURN_IF_ERROR(model.status());

  const absl::Time now = parts_.clock->Now();
  const std::string name = "collections/" + id;
  v1::Collection created;
  RETURN_IF_ERROR(parts_.store->Write([&](Transaction& transaction) -> absl::Status {
    internal::v1::CollectionRecord fresh = record;
    ASSIGN_OR_RETURN(const auto earlier, ClaimCreate(transaction, tenant, "CreateCollection", request.request_id(),
                                                     RequestDigest(request), name));
    if (earlier.has_value()) {
      ASSIGN_OR_RETURN(auto existing, ReadCollection(transaction, tenant, id, "collection_id"));
      ASSIGN_OR_RETURN(created, ToResource(transaction, tenant, std::move(existing)));
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(CheckFree(transaction, tenant, kCollectionKind, id, "collection", "collection_id"));
    RETURN_IF_ERROR(PinEncoder(transaction, tenant, *model, &fresh));
    fresh.mutable_collection()->set_name(name);
    *fresh.mutable_collection()->mutable_create_time() = ToTimestamp(now);
    created = fresh.collection();
    return transaction.Insert(MakeRecord(tenant, kCollectionKind, id, "", now, fresh));
  }));
  return created;
}

absl::StatusOr<v1::Collection> Collections::Get(const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, ParseName("collections", name, "name"));
  v1::Collection collection;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(auto record, ReadCollection(snapshot, tenant, id, "name"));
    ASSIGN_OR_RETURN(collection, ToResource(snapshot, tenant, std::move(record)));
    return absl::OkStatus();
  }));
  return collection;
}

absl::StatusOr<v1::ListCollectionsResponse> Collections::List(const std::string& tenant,
                                                              const v1::ListCollectionsRequest& request) {
  ListQuery query;
  query.tenant = tenant;
  query.kind = kCollectionKind;
  query.page_token = request.page_token();
  ASSIGN_OR_RETURN(query.limit, PageSize(request.page_size()));
  v1::ListCollectionsResponse response;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(const ListPage page, snapshot.List(query));
    for (const Record& item : page.records) {
      ASSIGN_OR_RETURN(auto record, ParseBody<internal::v1::CollectionRecord>(item));
      ASSIGN_OR_RETURN(*response.add_collections(), ToResource(snapshot, tenant, std::move(record)));
    }
    response.set_next_page_token(page.next_page_token);
    return absl::OkStatus();
  }));
  return response;
}

absl::Status Collections::Delete(const std::string& tenant, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string id, ParseName("collections", name, "name"));
  ASSIGN_OR_RETURN(const auto record, Find(tenant, name, "name"));
  const IndexCache::Key key(tenant, record.document_space());
  RETURN_IF_ERROR(parts_.indexes->Change(key, [&]() -> absl::StatusOr<IndexChange> {
    RETURN_IF_ERROR(parts_.store->Write([&](Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(CheckSameCollection(transaction, tenant, record));
      RETURN_IF_ERROR(CheckCollectionUnused(transaction, tenant, id));
      RETURN_IF_ERROR(transaction.DeleteAllDocuments(tenant, record.document_space()));
      return transaction.Delete(tenant, kCollectionKind, id);
    }));
    return IndexChange();
  }));
  parts_.indexes->Drop(key);
  return absl::OkStatus();
}

absl::StatusOr<internal::v1::CollectionRecord> Collections::Find(const std::string& tenant, const std::string& name,
                                                                 const std::string& field) {
  internal::v1::CollectionRecord record;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(record, FindCollection(snapshot, tenant, name, field));
    return absl::OkStatus();
  }));
  return record;
}

absl::StatusOr<internal::v1::CollectionRecord> FindCollection(Snapshot& snapshot, const std::string& tenant,
                                                              const std::string& name, const std::string& field) {
  if (name.empty()) return TenonError(Reason::kFieldRequired, field + " is required", field);
  ASSIGN_OR_RETURN(const std::string id, ParseName("collections", name, field));
  return ReadCollection(snapshot, tenant, id, field);
}

absl::Status CheckSameCollection(Snapshot& snapshot, const std::string& tenant,
                                 const internal::v1::CollectionRecord& record) {
  ASSIGN_OR_RETURN(const std::string id, ParseName("collections", record.collection().name(), "collection"));
  ASSIGN_OR_RETURN(const auto now, ReadCollection(snapshot, tenant, id, "collection"));
  if (now.document_space() == record.document_space()) return absl::OkStatus();
  return TenonError(Reason::kNotFound, absl::StrCat("collection '", id, "' was deleted meanwhile"), "collection");
}

IndexSpec SpecOf(const v1::Collection& collection) {
  IndexSpec spec;
  spec.kind = collection.index_kind();
  spec.metric = collection.metric();
  spec.dimensions = collection.dimensions();
  return spec;
}

IndexCache::Loader DocumentLoader(Store* store) {
  return [store](const IndexCache::Key& key, const std::function<void(IndexDocument)>& add) {
    return store->Read([&](Snapshot& snapshot) {
      absl::Status parsed;
      const absl::Status scanned =
          snapshot.ScanDocuments(key.first, key.second, /*after=*/-1, [&](const DocumentRecord& record) {
            internal::v1::DocumentBody body;
            if (!body.ParseFromString(record.body)) {
              parsed = absl::InternalError(absl::StrCat("stored document ", record.number, " cannot be read"));
              return;
            }
            absl::StatusOr<Metadata> metadata = ParseMetadata(body.metadata(), "metadata");
            if (!metadata.ok()) parsed = metadata.status();
            if (parsed.ok()) add({record.number, record.id, *std::move(metadata), record.vector});
          });
      return scanned.ok() ? parsed : scanned;
    });
  };
}

}  // namespace tenon::server
