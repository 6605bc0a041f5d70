#include "worker/engine/train/weight_slices.h"

#include <algorithm>

namespace tenon::engine {
namespace {

// All weights of an adapter are one slice; a large model's are cut into parts of some milliseconds.
constexpr int64_t kSliceElements = int64_t{1} << 22;

}  // namespace

at::Tensor WeightPart::Of(const at::Tensor& whole) const { return whole.detach().view(-1).narrow(0, first, count); }

bool WeightSlices::Next(const std::vector<Parameter>& parameters,
                        const std::function<void(const WeightPart& part)>& visit) {
  for (int64_t left = kSliceElements; parameter_ < parameters.size();) {
    const int64_t size = parameters[parameter_].value.numel();
    const int64_t count = std::min(kSliceElements, size - element_);
    if (count > left) return false;
    visit({parameter_, element_, count});
    left -= count;
    element_ += count;
    if (element_ < size) continue;
    ++parameter_;
    element_ = 0;
  }
  parameter_ = 0;
  return true;
}

}  // namespace tenon::engine
