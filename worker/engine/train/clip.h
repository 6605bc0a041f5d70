// Clipping of gradients by their global norm, as torch.nn.utils.clip_grad_norm_ does it. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "worker/engine/train/trainable.h"
#include "worker/engine/train/weight_slices.h"

namespace tenon::engine {

class GradientNorm {
 public:
  // A slice's part of the L2 norm over all gradients, which must be defined; the norm with the last part, after which
  // it begins anew.
  std::optional<double> Slice(const std::vector<Parameter>& parameters);

 private:
  WeightSlices slices_;
  std::vector<at::Tensor> norms_;  // of the parts so far
};

// What gradients of this norm are multiplied by, so that it is at most `max_norm`; 1 where that is 0.
double ClipScale(double norm, double max_norm);

}  // namespace tenon::engine
