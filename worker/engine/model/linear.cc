#include "worker/engine/model/linear.h"

#include <ATen/ops/linear.h>

#include "worker/engine/model/packed_linear.h"
#include "worker/engine/model/torch_util.h"

namespace tenon::engine {

at::Tensor Linear::operator()(const at::Tensor& x) const {
  return at::linear(x, weight_.to(x.scalar_type()), bias_.to(x.scalar_type()));
}

at::Tensor Linear::Fast(const at::Tensor& x, Activation activation) const {
  if (packed_.defined()) return PackedLinear(x, packed_, bias_, activation);
  return Activate((*this)(x), activation);
}

void Linear::Prepare(KernelChoice& choice, Activation activation) {
  if (choice.PreferPacked(weight_, bias_, activation)) packed_ = PackWeight(weight_);
}

std::pair<at::Tensor, at::Tensor> Linear::Copy(int64_t first, int64_t count) const {
  const auto copy = [&](const at::Tensor& from) {
    return from.narrow(0, first, count).to(at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
  };
  return {copy(weight_), copy(bias_)};
}

int64_t Linear::Bytes() const {
  // The packed layout pads its blocks a little; its own size cannot be asked for, the plain one is within a few
  // percent.
  return TensorBytes(weight_) * (packed_.defined() ? 2 : 1) + TensorBytes(bias_);
}

}  // namespace tenon::engine
