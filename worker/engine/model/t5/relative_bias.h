// T5's relative position bias (Raffel et al., 2020): a learnt number for each head and bucket of distances, added to
// the scores of attention in every layer of a stack. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "worker/engine/model/attend.h"

namespace tenon::engine {

// The numbers by distance; a distance is the key's position less the query's. Autograd follows them to the weight, with
// the same bits each time.
class RelativeBias {
 public:
  RelativeBias() = default;
  // weight [buckets, heads], of any type: kept in fp32. An encoder looks both ways and has buckets for either; a
  // decoder looks back.
  RelativeBias(const at::Tensor& weight, int64_t max_distance, bool both_ways);

  // [heads, back + 1 + ahead] fp32, on the weight's device: column i is for distance i - back.
  at::Tensor Distances(int64_t back, int64_t ahead) const;
  // [heads, length, length]: what attention within a row of this length adds.
  at::Tensor Square(int64_t length) const;

  const at::Tensor& weight() const { return weight_; }
  int64_t Bytes() const;

 private:
  // distances [...] int64 -> [..., heads].
  at::Tensor Numbers(const at::Tensor& distances) const;

  at::Tensor weight_;
  at::Tensor buckets_;  // [2 * reach_ + 1] int64: of distances -reach_ to reach_, beyond which nothing changes
  int64_t reach_ = 0;
};

// A table of distances in memory for our own kernels, on the CPU.
class BiasTable {
 public:
  BiasTable() = default;
  // For rows of up to `back` + 1 tokens, or, looking back alone, for that many tokens of a line.
  BiasTable(const RelativeBias& bias, int64_t back, int64_t ahead);

  int64_t back() const { return back_; }
  DistanceBias view() const;

 private:
  at::Tensor table_;
  int64_t back_ = -1;
};

}  // namespace tenon::engine
