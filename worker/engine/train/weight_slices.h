// Work that goes once over all weights, cut into slices: of a large model it would keep requests waiting.
// Engine-internal, torch inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "worker/engine/train/trainable.h"

namespace tenon::engine {

// Some elements of one parameter.
struct WeightPart {
  size_t parameter = 0;
  int64_t first = 0, count = 0;

  // The same elements of a contiguous tensor of the parameter's size, as a view without gradients.
  at::Tensor Of(const at::Tensor& whole) const;
};

// Where such work stands.
class WeightSlices {
 public:
  // Calls `visit` for the next parts, as many as one slice takes; true behind the last part, from where it begins anew.
  // How a parameter is cut depends on its size alone, so that its neighbours do not change a sum over its parts.
  bool Next(const std::vector<Parameter>& parameters, const std::function<void(const WeightPart& part)>& visit);

 private:
  size_t parameter_ = 0;
  int64_t element_ = 0;
};

}  // namespace tenon::engine
