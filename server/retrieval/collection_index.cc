#include "server/retrieval/collection_index.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "server/retrieval/faiss/faiss_index.h"

namespace tenon::server {
namespace {

// Extra candidates, so that documents tied with the last one asked for are seen.
constexpr int64_t kTieSlack = 16;
// Comparing so many takes some 10 ms.
constexpr int64_t kExactBelow = 20'000;
// Of a row beside its strings: two hash nodes and the row itself.
constexpr int64_t kRowOverhead = 160;
// Vectors added under one lock: in a large graph each takes some 100 us.
constexpr size_t kAddAtATime = 32;

// Cosine is the inner product of vectors of length 1; a vector of zeros stays what it is and scores 0.
void Normalize(float* vector, int dimensions) {
  double sum = 0;
  for (int i = 0; i < dimensions; ++i) sum += static_cast<double>(vector[i]) * vector[i];
  if (sum <= 0) return;
  const float scale = static_cast<float>(1 / std::sqrt(sum));
  for (int i = 0; i < dimensions; ++i) vector[i] *= scale;
}

}  // namespace

CollectionIndex::CollectionIndex(const IndexSpec& spec) : CollectionIndex(spec, kExactBelow) {}

CollectionIndex::CollectionIndex(const IndexSpec& spec, int64_t exact_below)
    : spec_(spec), exact_below_(exact_below), vectors_(MakeFaissIndex(spec.kind, spec.dimensions)) {}

absl::Status CollectionIndex::Apply(IndexChange change) {
  absl::MutexLock apply(&apply_mutex_);
  RETURN_IF_ERROR(AddVectors(change.put));
  absl::MutexLock lock(&mutex_);
  for (const int64_t number : change.removed) Bury(number);
  for (const IndexDocument& document : change.put) {
    const auto old = number_of_id_.find(document.id);
    if (old != number_of_id_.end()) Bury(old->second);
  }
  AddRows(std::move(change.put));
  return absl::OkStatus();
}

void CollectionIndex::Bury(int64_t number) {
  const auto found = slot_of_number_.find(number);
  if (found == slot_of_number_.end()) return;
  Row& row = rows_[found->second];
  row_bytes_ -= MetadataBytes(row.metadata) + static_cast<int64_t>(2 * row.id.size());
  number_of_id_.erase(row.id);
  slot_of_number_.erase(found);
  row = Row();
}

absl::Status CollectionIndex::AddVectors(const std::vector<IndexDocument>& documents) {
  std::vector<float> block;
  block.reserve(documents.size() * spec_.dimensions);
  for (const IndexDocument& document : documents) {
    if (static_cast<int>(document.vector.size()) != spec_.dimensions) {
      return absl::InternalError(absl::StrCat("document ", document.number, " has ", document.vector.size(),
                                              " dimensions, the collection ", spec_.dimensions));
    }
    block.insert(block.end(), document.vector.begin(), document.vector.end());
    if (spec_.metric == v1::VECTOR_METRIC_COSINE) {
      Normalize(block.data() + block.size() - spec_.dimensions, spec_.dimensions);
    }
  }
  for (size_t begin = 0; begin < documents.size(); begin += kAddAtATime) {
    const size_t count = std::min(kAddAtATime, documents.size() - begin);
    absl::MutexLock lock(&mutex_);  // let go between: searches wait for a few milliseconds at most
    RETURN_IF_ERROR(vectors_->Add(block.data() + begin * spec_.dimensions, static_cast<int64_t>(count)));
  }
  return absl::OkStatus();
}

void CollectionIndex::AddRows(std::vector<IndexDocument> documents) {
  for (IndexDocument& document : documents) {
    row_bytes_ += MetadataBytes(document.metadata) + static_cast<int64_t>(2 * document.id.size());
    slot_of_number_[document.number] = static_cast<int64_t>(rows_.size());
    number_of_id_[document.id] = document.number;
    rows_.push_back({document.number, std::move(document.id), std::move(document.metadata)});
  }
}

absl::StatusOr<std::vector<std::vector<IndexHit>>> CollectionIndex::Search(
    const std::vector<std::vector<float>>& queries, int k, const Metadata& filter) const {
  absl::ReaderMutexLock lock(&mutex_);
  SlotSet allowed;
  int64_t allowed_count = static_cast<int64_t>(rows_.size());
  const bool arriving = vectors_->size() != static_cast<int64_t>(rows_.size());
  const bool restricted = !filter.empty() || arriving || slot_of_number_.size() != rows_.size();
  if (restricted) {
    allowed.resize(static_cast<size_t>(vectors_->size()));
    allowed_count = 0;
    for (size_t slot = 0; slot < rows_.size(); ++slot) {
      if (rows_[slot].number < 0 || !Matches(rows_[slot].metadata, filter)) continue;
      allowed[slot] = true;
      ++allowed_count;
    }
  }
  std::vector<std::vector<IndexHit>> results;
  results.reserve(queries.size());
  for (const std::vector<float>& query : queries) {
    if (static_cast<int>(query.size()) != spec_.dimensions) {
      return absl::InternalError(
          absl::StrCat("a query has ", query.size(), " dimensions, the collection ", spec_.dimensions));
    }
    ASSIGN_OR_RETURN(auto hits, SearchOne(query, k, restricted ? &allowed : nullptr, allowed_count, !filter.empty()));
    results.push_back(std::move(hits));
  }
  return results;
}

absl::StatusOr<std::vector<IndexHit>> CollectionIndex::SearchOne(std::vector<float> query, int k,
                                                                 const SlotSet* allowed, int64_t allowed_count,
                                                                 bool filtered) const {
  const int64_t wanted = std::min<int64_t>(k, allowed_count);
  std::vector<IndexHit> hits;
  if (wanted <= 0) return hits;
  if (spec_.metric == v1::VECTOR_METRIC_COSINE) Normalize(query.data(), spec_.dimensions);

  int64_t fetch = std::min(allowed_count, wanted + kTieSlack);
  std::vector<Candidate> found;
  // A graph walked under a narrow filter finds too little: compare with the few that match instead.
  const bool narrow = allowed_count <= 20 * fetch || (filtered && allowed_count <= exact_below_);
  if (spec_.kind == v1::INDEX_KIND_HNSW && !narrow) {
    const double effort = static_cast<double>(rows_.size()) / static_cast<double>(allowed_count);
    ASSIGN_OR_RETURN(found, vectors_->Search(query.data(), fetch, allowed, effort));
  }
  if (static_cast<int64_t>(found.size()) < wanted) {
    while (true) {
      ASSIGN_OR_RETURN(found, vectors_->SearchExact(query.data(), fetch, allowed));
      // Whether something tied with the last one asked for may lie behind the last one fetched.
      if (fetch == allowed_count || found.back().score < found[wanted - 1].score) break;
      fetch = std::min(allowed_count, fetch * 4);
    }
  }
  hits.reserve(found.size());
  for (const Candidate& candidate : found) {
    const Row& row = rows_[candidate.slot];
    hits.push_back({row.number, row.id, candidate.score});
  }
  std::sort(hits.begin(), hits.end(),
            [](const IndexHit& a, const IndexHit& b) { return a.score != b.score ? a.score > b.score : a.id < b.id; });
  if (static_cast<int64_t>(hits.size()) > wanted) hits.resize(wanted);
  return hits;
}

bool CollectionIndex::WantsCompaction() const {
  absl::ReaderMutexLock lock(&mutex_);
  const size_t dead = rows_.size() - slot_of_number_.size();
  return dead > 1000 && dead * 3 > rows_.size();
}

absl::StatusOr<std::shared_ptr<CollectionIndex>> CollectionIndex::Compacted() const {
  auto copy = std::make_shared<CollectionIndex>(spec_, exact_below_);
  absl::ReaderMutexLock lock(&mutex_);
  IndexChange live;
  for (size_t slot = 0; slot < rows_.size(); ++slot) {
    const Row& row = rows_[slot];
    if (row.number < 0) continue;
    const float* vector = vectors_->Row(static_cast<int64_t>(slot));
    live.put.push_back({row.number, row.id, row.metadata, {vector, vector + spec_.dimensions}});
  }
  RETURN_IF_ERROR(copy->Apply(std::move(live)));
  return copy;
}

int64_t CollectionIndex::size() const {
  absl::ReaderMutexLock lock(&mutex_);
  return static_cast<int64_t>(slot_of_number_.size());
}

int64_t CollectionIndex::bytes() const {
  absl::ReaderMutexLock lock(&mutex_);
  return vectors_->bytes() + row_bytes_ + static_cast<int64_t>(rows_.size()) * kRowOverhead;
}

}  // namespace tenon::server
