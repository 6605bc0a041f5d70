// Dropout masks of one job. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "worker/engine/kernels/dropout.h"

namespace tenon::engine {

// Every segment of every micro-batch starts its own streams, named by its place in the run and the call's number in it,
// so there is no state to keep between slices or in checkpoints. On the CPU a stream is a counter that is hashed;
// elsewhere a generator of torch's that nobody else draws from.
class JobDropout {
 public:
  JobDropout(uint64_t seed, const at::Device& device);

  // Masks drawn from here on belong to this segment of this micro-batch (counted over the whole run).
  void Enter(int64_t micro_batch, int64_t segment);
  // The next mask of the segment, for the CPU's kernels.
  kernels::DropoutMask Next(double p);
  // x with each element kept with probability 1 - p and scaled by 1 / (1 - p); x itself when p is 0.
  at::Tensor operator()(const at::Tensor& x, double p);

 private:
  uint64_t seed_;
  uint64_t micro_batch_ = 0, segment_ = 0, calls_ = 0;
  at::Generator generator_;
};

}  // namespace tenon::engine
