// AdamW (Loshchilov and Hutter, 2019) as torch.optim.AdamW computes it. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "worker/engine/train/trainable.h"
#include "worker/engine/train/weight_slices.h"

namespace tenon::engine {

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

  // What one update is made with.
  struct Update {
    double learning_rate = 0;
    int64_t step = 1;           // counts from 1
    double gradient_scale = 1;  // of ClipScale; gradients are multiplied in place
  };

  // One update with every parameter's gradient, which must be defined.
  void Step(std::vector<Parameter>& parameters, const Update& update);
  // A slice's part of the same; true when the update is complete. A checkpoint may be taken before and after it, not in
  // between.
  bool StepSlice(std::vector<Parameter>& parameters, const Update& update);

  // In the order of the parameters; a checkpoint stores them and puts them back.
  std::vector<Moments>& moments() { return moments_; }

 private:
  void UpdatePart(const Parameter& parameter, const WeightPart& part, const Update& update);

  Options options_;
  std::vector<Moments> moments_;
  WeightSlices slices_;
};

}  // namespace tenon::engine
