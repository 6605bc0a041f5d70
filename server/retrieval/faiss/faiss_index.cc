#include "server/retrieval/faiss/faiss_index.h"

#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/utils/distances.h>
#include <omp.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <string>

#include "common/formats/status.h"

namespace tenon::server {
namespace {

struct SlotSelector final : faiss::IDSelector {
  explicit SlotSelector(const SlotSet& slots) : slots(slots) {}
  bool is_member(idx_t id) const override { return slots[static_cast<size_t>(id)]; }
  const SlotSet& slots;
};

// FAISS throws; nothing of it leaves this file. Its settings are the calling thread's (OpenMP) or the process's (BLAS
// threshold).
template <typename Body>
absl::Status Guard(const Body& body) {
  static const bool configured = [] {
    faiss::distance_compute_blas_threshold = std::numeric_limits<int>::max();
    return true;
  }();
  (void)configured;
  omp_set_num_threads(1);
  try {
    body();
    return absl::OkStatus();
  } catch (const std::bad_alloc&) {
    return TenonError(Reason::kOutOfMemory, "no memory for the vector index");
  } catch (const std::exception& error) {
    return absl::InternalError(std::string("vector index: ") + error.what());
  }
}

absl::StatusOr<std::vector<Candidate>> Run(const faiss::Index& index, const float* query, int64_t k,
                                           const faiss::SearchParameters& parameters) {
  k = std::min<int64_t>(k, index.ntotal);
  std::vector<Candidate> found;
  if (k <= 0) return found;
  std::vector<float> scores(k);
  std::vector<faiss::Index::idx_t> slots(k);
  RETURN_IF_ERROR(Guard([&] { index.search(1, query, k, scores.data(), slots.data(), &parameters); }));
  for (int64_t i = 0; i < k; ++i) {
    if (slots[i] >= 0) found.push_back({slots[i], scores[i]});
  }
  return found;
}

class FlatIndex final : public VectorIndex {
 public:
  explicit FlatIndex(int dimensions) : index_(dimensions) {}
  absl::Status Add(const float* rows, int64_t count) override {
    return Guard([&] { index_.add(count, rows); });
  }
  absl::StatusOr<std::vector<Candidate>> Search(const float* query, int64_t k, const SlotSet* allowed,
                                                double) const override {
    return SearchExact(query, k, allowed);
  }
  absl::StatusOr<std::vector<Candidate>> SearchExact(const float* query, int64_t k,
                                                     const SlotSet* allowed) const override {
    faiss::SearchParameters parameters;
    if (allowed == nullptr) return Run(index_, query, k, parameters);
    SlotSelector selector(*allowed);
    parameters.sel = &selector;
    return Run(index_, query, k, parameters);
  }
  const float* Row(int64_t slot) const override { return index_.get_xb() + slot * index_.d; }
  int64_t size() const override { return index_.ntotal; }
  int64_t bytes() const override { return static_cast<int64_t>(index_.codes.capacity()); }

 private:
  faiss::IndexFlatIP index_;
};

class HnswIndex final : public VectorIndex {
 public:
  HnswIndex(int dimensions, const HnswOptions& options)
      : options_(options), index_(dimensions, options.links, faiss::METRIC_INNER_PRODUCT) {
    index_.hnsw.efConstruction = options.build_breadth;
  }
  absl::Status Add(const float* rows, int64_t count) override {
    return Guard([&] { index_.add(count, rows); });
  }
  absl::StatusOr<std::vector<Candidate>> Search(const float* query, int64_t k, const SlotSet* allowed,
                                                double effort) const override {
    faiss::SearchParametersHNSW parameters;
    const double breadth = effort * static_cast<double>(std::max<int64_t>(options_.search_breadth, 2 * k));
    parameters.efSearch = static_cast<int>(std::min(breadth, static_cast<double>(index_.ntotal)));
    if (allowed == nullptr) return Run(index_, query, k, parameters);
    SlotSelector selector(*allowed);
    parameters.sel = &selector;
    return Run(index_, query, k, parameters);
  }
  absl::StatusOr<std::vector<Candidate>> SearchExact(const float* query, int64_t k,
                                                     const SlotSet* allowed) const override {
    faiss::SearchParameters parameters;
    if (allowed == nullptr) return Run(*index_.storage, query, k, parameters);
    SlotSelector selector(*allowed);
    parameters.sel = &selector;
    return Run(*index_.storage, query, k, parameters);
  }
  const float* Row(int64_t slot) const override {
    return static_cast<const faiss::IndexFlat*>(index_.storage)->get_xb() + slot * index_.d;
  }
  int64_t size() const override { return index_.ntotal; }
  int64_t bytes() const override {
    const auto& graph = index_.hnsw;
    const size_t vectors = static_cast<const faiss::IndexFlat*>(index_.storage)->codes.capacity();
    return static_cast<int64_t>(vectors + graph.neighbors.capacity() * sizeof(graph.neighbors[0]) +
                                graph.offsets.capacity() * sizeof(graph.offsets[0]) +
                                graph.levels.capacity() * sizeof(graph.levels[0]));
  }

 private:
  const HnswOptions options_;
  faiss::IndexHNSWFlat index_;
};

}  // namespace

std::unique_ptr<VectorIndex> MakeFaissIndex(v1::IndexKind kind, int dimensions, const HnswOptions& options) {
  if (kind == v1::INDEX_KIND_HNSW) return std::make_unique<HnswIndex>(dimensions, options);
  return std::make_unique<FlatIndex>(dimensions);
}

}  // namespace tenon::server
