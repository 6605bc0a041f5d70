#include "server/app/documents.h"

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"
#include "common/status_proto.h"
#include "server/app/documents_embed.h"

namespace tenon::server {
namespace {

constexpr int kMaxDocuments = 1024;
constexpr size_t kMaxIdBytes = 512;
constexpr int64_t kMaxTextBytes = 1 << 20;
constexpr size_t kMaxAnswerBytes = 32 << 20;

absl::Status CheckDocumentId(const std::string& id, const std::string& field) {
  if (id.empty()) return TenonError(Reason::kFieldRequired, field + " is required", field);
  if (id.size() > kMaxIdBytes) {
    return TenonError(Reason::kFieldInvalid,
                      absl::StrCat(field, " has ", id.size(), " bytes; at most ", kMaxIdBytes, " are allowed"), field);
  }
  if (!formats::IsValidUtf8(id)) return TenonError(Reason::kTextNotUtf8, field + " is not valid UTF-8", field);
  return absl::OkStatus();
}

// A row that can be embedded.
struct GoodRow {
  const v1::Document* document;
  Metadata metadata;
};

absl::StatusOr<GoodRow> CheckDocument(const v1::Document& document, int index,
                                      const std::map<std::string, int>& occurrences) {
  const std::string field = absl::StrCat("documents[", index, "]");
  RETURN_IF_ERROR(CheckDocumentId(document.id(), field + ".id"));
  if (occurrences.at(document.id()) > 1) {
    return TenonError(Reason::kDocumentDuplicate, absl::StrCat(field, ".id: '", document.id(), "' occurs twice"),
                      field + ".id");
  }
  RETURN_IF_ERROR(formats::CheckText(document.text(), kMaxTextBytes, field + ".text"));
  ASSIGN_OR_RETURN(Metadata metadata, ParseMetadata(document.metadata(), field + ".metadata"));
  return GoodRow{&document, std::move(metadata)};
}

std::vector<GoodRow> Sift(const v1::AddDocumentsRequest& request, v1::AddDocumentsResponse* response) {
  std::map<std::string, int> occurrences;
  for (const v1::Document& document : request.documents()) ++occurrences[document.id()];
  std::vector<GoodRow> good;
  for (int i = 0; i < request.documents_size(); ++i) {
    absl::StatusOr<GoodRow> row = CheckDocument(request.documents(i), i, occurrences);
    if (row.ok()) {
      good.push_back(*std::move(row));
      continue;
    }
    auto* error = response->add_errors();
    error->set_index(i);
    error->set_id(request.documents(i).id().substr(0, kMaxIdBytes));
    *error->mutable_error() = ToRpcStatus(row.status());
  }
  return good;
}

std::vector<DocumentRecord> ToRecords(const std::vector<GoodRow>& rows, Embeddings embeddings) {
  std::vector<DocumentRecord> records(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    internal::v1::DocumentBody body;
    body.set_text(rows[i].document->text());
    *body.mutable_metadata() = rows[i].document->metadata();
    records[i].id = rows[i].document->id();
    records[i].vector = std::move(embeddings.vectors[i]);
    records[i].body = body.SerializeAsString();
  }
  return records;
}

// What stands behind the hits of a search.
struct Filled {
  bool exact = true;  // nothing was replaced since
  bool full = true;   // every query has `top_k` documents, or all that there are
};

// The first `top_k` documents of each query, of `candidates` that were searched for, which were neither deleted nor
// replaced since the search. FIELD_INVALID when they are too much for one answer.
absl::StatusOr<Filled> FillHits(Snapshot& snapshot, const std::string& tenant, const std::string& space,
                                const std::vector<std::vector<IndexHit>>& found, int top_k, int candidates,
                                v1::RetrieveResponse* response) {
  Filled filled;
  size_t bytes = 0;
  for (const std::vector<IndexHit>& hits : found) {
    v1::RetrieveResult& result = *response->add_results();
    bool replaced = false;
    for (const IndexHit& hit : hits) {
      if (result.hits_size() == top_k) break;
      absl::StatusOr<DocumentRecord> document = snapshot.GetDocument(tenant, space, hit.number);
      if (absl::IsNotFound(document.status())) {
        ASSIGN_OR_RETURN(const std::vector<int64_t> now, snapshot.DocumentNumbers(tenant, space, {hit.id}));
        replaced = replaced || now[0] >= 0;  // else deleted
        continue;
      }
      RETURN_IF_ERROR(document.status());
      bytes += document->body.size();
      if (bytes > kMaxAnswerBytes) {
        return TenonError(Reason::kFieldInvalid,
                          absl::StrCat("the documents found have more than ", kMaxAnswerBytes >> 20,
                                       " MiB; ask for fewer (top_k) or with fewer queries"),
                          "top_k");
      }
      internal::v1::DocumentBody body;
      if (!body.ParseFromString(document->body)) {
        return absl::InternalError(absl::StrCat("stored document ", hit.number, " cannot be read"));
      }
      v1::Hit& out = *result.add_hits();
      out.set_id(hit.id);
      out.set_score(hit.score);
      *out.mutable_text() = std::move(*body.mutable_text());
      *out.mutable_metadata() = std::move(*body.mutable_metadata());
    }
    const bool seen_all = static_cast<int>(hits.size()) < candidates;
    const bool full = result.hits_size() == top_k || (seen_all && !replaced);
    filled.full = filled.full && full;
    filled.exact = filled.exact && full && !replaced;
  }
  return filled;
}

}  // namespace

absl::StatusOr<v1::AddDocumentsResponse> Documents::Add(const CallScope& scope,
                                                        const v1::AddDocumentsRequest& request) {
  ASSIGN_OR_RETURN(const auto collection, parts_.collections->Find(scope.tenant, request.collection(), "collection"));
  if (request.documents().empty()) {
    return TenonError(Reason::kFieldRequired, "at least one document is required", "documents");
  }
  if (request.documents_size() > kMaxDocuments) {
    return TenonError(
        Reason::kFieldInvalid,
        absl::StrCat(request.documents_size(), " documents in one request; at most ", kMaxDocuments, " are allowed"),
        "documents");
  }
  v1::AddDocumentsResponse response;
  std::vector<GoodRow> rows = Sift(request, &response);
  if (rows.empty()) return response;

  std::vector<std::string> texts;
  for (const GoodRow& row : rows) texts.push_back(collection.collection().document_prefix() + row.document->text());
  ASSIGN_OR_RETURN(Embeddings embeddings, EmbedTexts(*parts_.router, scope, collection, std::move(texts)));
  response.mutable_usage()->set_input_tokens(embeddings.input_tokens);
  const std::vector<DocumentRecord> records = ToRecords(rows, std::move(embeddings));

  const IndexCache::Key key(scope.tenant, collection.document_space());
  RETURN_IF_ERROR(parts_.indexes->Change(key, [&]() -> absl::StatusOr<IndexChange> {
    std::vector<int64_t> numbers;
    RETURN_IF_ERROR(parts_.store->Write([&](Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(CheckSameCollection(transaction, scope.tenant, collection));
      ASSIGN_OR_RETURN(numbers, transaction.PutDocuments(scope.tenant, collection.document_space(), records));
      return absl::OkStatus();
    }));
    IndexChange change;
    for (size_t i = 0; i < records.size(); ++i) {
      change.put.push_back({numbers[i], records[i].id, std::move(rows[i].metadata), records[i].vector});
    }
    return change;
  }));
  response.set_stored_count(static_cast<int64_t>(records.size()));
  return response;
}

absl::StatusOr<v1::DeleteDocumentsResponse> Documents::Delete(const std::string& tenant,
                                                              const v1::DeleteDocumentsRequest& request) {
  ASSIGN_OR_RETURN(const auto collection, parts_.collections->Find(tenant, request.collection(), "collection"));
  if (request.ids().empty()) return TenonError(Reason::kFieldRequired, "at least one id is required", "ids");
  if (request.ids_size() > kMaxDocuments) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat("at most ", kMaxDocuments, " ids are allowed"), "ids");
  }
  for (int i = 0; i < request.ids_size(); ++i) {
    RETURN_IF_ERROR(CheckDocumentId(request.ids(i), absl::StrCat("ids[", i, "]")));
  }
  const std::set<std::string> distinct(request.ids().begin(), request.ids().end());
  const std::vector<std::string> ids(distinct.begin(), distinct.end());
  v1::DeleteDocumentsResponse response;
  const IndexCache::Key key(tenant, collection.document_space());
  RETURN_IF_ERROR(parts_.indexes->Change(key, [&]() -> absl::StatusOr<IndexChange> {
    IndexChange change;
    RETURN_IF_ERROR(parts_.store->Write([&](Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(CheckSameCollection(transaction, tenant, collection));
      response.Clear();
      ASSIGN_OR_RETURN(const std::vector<int64_t> numbers,
                       transaction.DocumentNumbers(tenant, collection.document_space(), ids));
      for (size_t i = 0; i < ids.size(); ++i) {
        if (numbers[i] < 0) response.add_missing_ids(ids[i]);
      }
      ASSIGN_OR_RETURN(change.removed, transaction.DeleteDocuments(tenant, collection.document_space(), ids));
      return absl::OkStatus();
    }));
    response.set_deleted_count(static_cast<int64_t>(change.removed.size()));
    return change;
  }));
  return response;
}

absl::StatusOr<v1::RetrieveResponse> Documents::Retrieve(const CallScope& scope, const v1::RetrieveRequest& request) {
  constexpr int kMaxQueries = 256;
  constexpr int kMaxTopK = 1000;
  ASSIGN_OR_RETURN(const auto collection, parts_.collections->Find(scope.tenant, request.collection(), "collection"));
  if (request.queries().empty()) {
    return TenonError(Reason::kFieldRequired, "at least one query is required", "queries");
  }
  if (request.queries_size() > kMaxQueries) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat("at most ", kMaxQueries, " queries are allowed"), "queries");
  }
  if (request.top_k() < 0 || request.top_k() > kMaxTopK) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat("top_k must be from 1 to ", kMaxTopK, ", or 0 for 10"),
                      "top_k");
  }
  const int top_k = request.top_k() == 0 ? 10 : request.top_k();
  ASSIGN_OR_RETURN(const Metadata filter, ParseMetadata(request.filter(), "filter"));
  std::vector<std::string> texts;
  for (int i = 0; i < request.queries_size(); ++i) {
    RETURN_IF_ERROR(formats::CheckText(request.queries(i), kMaxTextBytes, absl::StrCat("queries[", i, "]")));
    texts.push_back(collection.collection().query_prefix() + request.queries(i));
  }
  ASSIGN_OR_RETURN(const Embeddings embeddings, EmbedTexts(*parts_.router, scope, collection, std::move(texts)));

  const IndexCache::Key key(scope.tenant, collection.document_space());
  v1::RetrieveResponse response;
  // Between the search and the read of the texts a document may be replaced or deleted: then search again.
  constexpr int kAttempts = 3;
  Filled filled{.exact = false};
  for (int attempt = 0; attempt <= kAttempts && !filled.exact; ++attempt) {
    // The index follows the store after every commit; while a large one is applied no search is in time. The last takes
    // the next best for what the changes under way have replaced: at most so many documents in each.
    const int candidates = attempt < kAttempts ? top_k : top_k + 2 * kMaxDocuments;
    response.clear_results();
    ASSIGN_OR_RETURN(const auto index, parts_.indexes->Get(key, SpecOf(collection.collection())));
    ASSIGN_OR_RETURN(const auto found, index->Search(embeddings.vectors, candidates, filter));
    RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
      ASSIGN_OR_RETURN(
          filled, FillHits(snapshot, scope.tenant, collection.document_space(), found, top_k, candidates, &response));
      return absl::OkStatus();
    }));
  }
  if (!filled.full) {
    return TenonError(Reason::kQueueFull, "too many documents of the collection are being replaced; try again");
  }
  *response.mutable_model() = collection.collection().model();
  response.mutable_usage()->set_input_tokens(embeddings.input_tokens);
  return response;
}

}  // namespace tenon::server
