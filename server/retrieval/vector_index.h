// Vectors of one collection in memory, searched by inner product. What is behind it (faiss/) knows slots alone: 0, 1,
// 2, ... in the order of Add.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tenon/v1/retrieval_service.pb.h"

namespace tenon::server {

struct IndexSpec {
  v1::IndexKind kind = v1::INDEX_KIND_FLAT;
  v1::VectorMetric metric = v1::VECTOR_METRIC_COSINE;
  int dimensions = 0;
};

struct Candidate {
  int64_t slot = 0;
  float score = 0;  // inner product
};

// Slots that may be found: `allowed[slot]`.
using SlotSet = std::vector<bool>;

// Searches may run at the same time as each other, not as Add.
class VectorIndex {
 public:
  virtual ~VectorIndex() = default;
  // Appends `count` rows of `dimensions` floats.
  virtual absl::Status Add(const float* rows, int64_t count) = 0;
  // At most `k` slots of `allowed` (null: all), best first. An approximate index may miss some; it looks at `effort`
  // times as many slots as usual.
  virtual absl::StatusOr<std::vector<Candidate>> Search(const float* query, int64_t k, const SlotSet* allowed,
                                                        double effort) const = 0;
  // The same, exact.
  virtual absl::StatusOr<std::vector<Candidate>> SearchExact(const float* query, int64_t k,
                                                             const SlotSet* allowed) const = 0;
  // The stored row; valid until the next Add.
  virtual const float* Row(int64_t slot) const = 0;
  virtual int64_t size() const = 0;
  virtual int64_t bytes() const = 0;
};

}  // namespace tenon::server
