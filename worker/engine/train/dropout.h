// Dropout masks of one job. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tenon::engine {

// Owns a generator that nobody else draws from. Every segment of every micro-batch starts its own stream, named by its
// place in the run, so there is no state to keep between slices or in checkpoints.
class JobDropout {
 public:
  JobDropout(uint64_t seed, const at::Device& device);

  // Masks drawn from here on belong to this segment of this micro-batch (counted over the whole run).
  void Enter(int64_t micro_batch, int64_t segment);
  // x with each element kept with probability 1 - p and scaled by 1 / (1 - p); x itself when p is 0.
  at::Tensor operator()(const at::Tensor& x, double p);

 private:
  uint64_t seed_;
  at::Generator generator_;
};

}  // namespace tenon::engine
