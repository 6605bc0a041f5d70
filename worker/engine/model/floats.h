// Tensors as the kernels see them. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

namespace tenon::engine {

// fp32 numbers of a contiguous tensor; nullptr of an undefined one.
inline const float* Read(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}
inline float* Write(at::Tensor& tensor) { return tensor.defined() ? tensor.mutable_data_ptr<float>() : nullptr; }

// Frozen vectors may be stored in another precision.
inline at::Tensor Wide(const at::Tensor& vector) { return vector.defined() ? vector.to(at::kFloat) : vector; }

// Lines that are worth a thread, where the work is one pass over them.
constexpr int64_t kThreadLines = 16;

}  // namespace tenon::engine
