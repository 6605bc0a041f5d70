#include "worker/engine/model/linear.h"

#include <ATen/ops/linear.h>

#include "worker/engine/model/torch_util.h"

namespace tenon::engine {

at::Tensor Linear::operator()(const at::Tensor& x) const { return at::linear(x, weight_, bias_); }

int64_t Linear::Bytes() const { return TensorBytes(weight_) + TensorBytes(bias_); }

}  // namespace tenon::engine
