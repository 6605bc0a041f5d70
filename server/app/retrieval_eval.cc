#include "server/app/retrieval_eval.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/dataset_kind.h"
#include "common/formats/dataset.h"
#include "common/formats/status.h"
#include "common/ids.h"
#include "server/app/datasets.h"
#include "server/app/documents_embed.h"
#include "server/catalog/records.h"
#include "server/retrieval/metrics.h"

namespace tenon::server {
namespace {

constexpr char kFields[] = "eval_job.retrieval.";
constexpr int64_t kMaxDatasetBytes = int64_t{4} << 30;
constexpr int kMaxCut = 1000;
// Queries embedded and searched at a time; between, the job can be cancelled.
constexpr size_t kBatch = 256;
// Retrieved beyond the largest cut-off, so that equal scores there are ordered as trec_eval orders them.
constexpr int kTieMargin = 16;

absl::StatusOr<std::vector<int>> CutOffs(const v1::RetrievalEval& spec) {
  std::vector<int> ks(spec.ks().begin(), spec.ks().end());
  if (ks.empty()) ks = {1, 10, 100};
  std::sort(ks.begin(), ks.end());
  ks.erase(std::unique(ks.begin(), ks.end()), ks.end());
  if (ks.front() < 1 || ks.back() > kMaxCut) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat("cut-offs must be from 1 to ", kMaxCut),
                      std::string(kFields) + "ks");
  }
  return ks;
}

std::map<std::string, Judgements> ByQuery(const formats::Dataset& qrels) {
  std::map<std::string, Judgements> judgements;
  for (const formats::QrelRow& row : qrels.qrels) judgements[row.query_id][row.document_id] = row.score;
  return judgements;
}

}  // namespace

absl::Status CollectionEvaluator::Check(Snapshot& snapshot, const std::string& tenant, const v1::RetrievalEval& spec) {
  RETURN_IF_ERROR(CutOffs(spec).status());
  RETURN_IF_ERROR(FindCollection(snapshot, tenant, spec.collection(), std::string(kFields) + "collection").status());
  const auto check = [&](const std::string& name, v1::DatasetKind kind, const char* what,
                         const std::string& field) -> absl::Status {
    if (name.empty()) return TenonError(Reason::kFieldRequired, field + " is required", field);
    ASSIGN_OR_RETURN(const std::string id, ParseName("datasets", name, field));
    ASSIGN_OR_RETURN(const Record record, GetRecord(snapshot, tenant, kDatasetKind, id, "data set", field));
    ASSIGN_OR_RETURN(const auto stored, ParseBody<internal::v1::DatasetRecord>(record));
    if (stored.dataset().kind() == kind) return absl::OkStatus();
    return TenonError(Reason::kFieldInvalid, absl::StrCat("data set '", id, "' does not hold ", what), field);
  };
  RETURN_IF_ERROR(check(spec.queries(), v1::DATASET_KIND_QUERIES, "queries", std::string(kFields) + "queries"));
  return check(spec.qrels(), v1::DATASET_KIND_QRELS, "judgements", std::string(kFields) + "qrels");
}

absl::StatusOr<formats::Dataset> CollectionEvaluator::ReadRows(const std::string& tenant, const std::string& name,
                                                               v1::DatasetKind kind, const std::string& field) {
  internal::v1::DatasetRecord record;
  RETURN_IF_ERROR(parts_.store->Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseName("datasets", name, field));
    ASSIGN_OR_RETURN(const Record item, GetRecord(snapshot, tenant, kDatasetKind, id, "data set", field));
    ASSIGN_OR_RETURN(record, ParseBody<internal::v1::DatasetRecord>(item));
    return absl::OkStatus();
  }));
  if (record.dataset().kind() != kind) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat(record.dataset().name(), " is of another kind"), field);
  }
  ASSIGN_OR_RETURN(const auto format, ToFormat(record.format(), field));
  ASSIGN_OR_RETURN(const std::string bytes, parts_.blobs->ReadAll(record.dataset().sha256(), kMaxDatasetBytes));
  return formats::ReadDataset(bytes, format, {}, RowKind(kind));
}

absl::StatusOr<v1::EvalResult> CollectionEvaluator::Run(
    const std::string& tenant, const v1::RetrievalEval& spec,
    const std::function<void(int64_t done, int64_t total)>& progress, const std::function<bool()>& cancelled) {
  ASSIGN_OR_RETURN(const std::vector<int> ks, CutOffs(spec));
  ASSIGN_OR_RETURN(const auto collection,
                   parts_.collections->Find(tenant, spec.collection(), std::string(kFields) + "collection"));
  ASSIGN_OR_RETURN(formats::Dataset queries,
                   ReadRows(tenant, spec.queries(), v1::DATASET_KIND_QUERIES, std::string(kFields) + "queries"));
  ASSIGN_OR_RETURN(const formats::Dataset qrels,
                   ReadRows(tenant, spec.qrels(), v1::DATASET_KIND_QRELS, std::string(kFields) + "qrels"));
  const std::map<std::string, Judgements> judgements = ByQuery(qrels);
  std::erase_if(queries.queries, [&](const formats::QueryRow& row) { return !judgements.contains(row.id); });
  if (queries.queries.empty()) {
    return TenonError(Reason::kDatasetInvalid, "no query of the query set is judged", std::string(kFields) + "qrels");
  }

  CallScope scope;
  scope.tenant = tenant;
  scope.cancelled = cancelled;
  const auto total = static_cast<int64_t>(queries.queries.size());
  RetrievalScores scores(ks);
  ASSIGN_OR_RETURN(const auto index, parts_.indexes->Get(IndexCache::Key(tenant, collection.document_space()),
                                                         SpecOf(collection.collection())));
  for (size_t begin = 0; begin < queries.queries.size(); begin += kBatch) {
    if (cancelled && cancelled()) return TenonError(Reason::kCancelled, "the job was cancelled");
    const size_t end = std::min(begin + kBatch, queries.queries.size());
    std::vector<std::string> texts;
    for (size_t i = begin; i < end; ++i) {
      texts.push_back(collection.collection().query_prefix() + queries.queries[i].text);
    }
    ASSIGN_OR_RETURN(const Embeddings embeddings, EmbedTexts(*parts_.router, scope, collection, std::move(texts)));
    ASSIGN_OR_RETURN(const auto found, index->Search(embeddings.vectors, ks.back() + kTieMargin, Metadata()));
    for (size_t i = begin; i < end; ++i) {
      std::vector<ScoredDocument> run;
      for (const IndexHit& hit : found[i - begin]) run.push_back({hit.id, hit.score});
      scores.Add(TrecOrder(std::move(run)), judgements.at(queries.queries[i].id));
    }
    if (progress) progress(static_cast<int64_t>(end), total);
  }

  v1::EvalResult result;
  *result.mutable_model() = collection.collection().model();
  for (const auto& [name, value] : scores.Means()) {
    v1::Metric& metric = *result.add_metrics();
    metric.set_name(name);
    metric.set_value(value);
  }
  result.set_examples(scores.queries());
  return result;
}

}  // namespace tenon::server
