// AdamW (Loshchilov and Hutter, 2019) as torch.optim.AdamW computes it. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "worker/engine/train/trainable.h"

namespace tenon::engine {

// Scales all gradients so that their global L2 norm is at most `max_norm`, as torch.nn.utils.clip_grad_norm_; 0 leaves
// them alone. Returns the norm before.
double ClipGradients(std::vector<Parameter>& parameters, double max_norm);

class AdamW {
 public:
  struct Options {
    double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  };
  // First and second moments of one parameter.
  struct Moments {
    at::Tensor first, second;
  };

  AdamW(const std::vector<Parameter>& parameters, const Options& options);

  // One update with every parameter's gradient, which must be defined. `step` counts from 1.
  void Step(std::vector<Parameter>& parameters, double learning_rate, int64_t step);
  // The same in parts of at most so many elements as one slice takes; true when the update is complete. A checkpoint
  // may be taken before and after it, not in between.
  bool StepSlice(std::vector<Parameter>& parameters, double learning_rate, int64_t step);

  // In the order of the parameters; a checkpoint stores them and puts them back.
  std::vector<Moments>& moments() { return moments_; }

 private:
  // Where an update stands.
  struct Place {
    size_t parameter = 0;
    int64_t element = 0;
  };
  // `count` elements of a parameter, from `first` on.
  void Update(Parameter& parameter, Moments& moments, int64_t first, int64_t count, double learning_rate, int64_t step);

  Options options_;
  std::vector<Moments> moments_;
  Place next_;
};

}  // namespace tenon::engine
