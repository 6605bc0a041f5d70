#include "worker/engine/model/linear.h"

#include <ATen/ops/linear.h>

#include "worker/engine/model/packed_linear.h"
#include "worker/engine/model/row_inference.h"
#include "worker/engine/model/torch_util.h"

namespace tenon::engine {

at::Tensor Linear::operator()(const at::Tensor& x) const {
  return at::linear(x, weight_.to(x.scalar_type()), bias_.to(x.scalar_type()));
}

at::Tensor Linear::Fast(const at::Tensor& x, Activation activation) const {
  if (panels_ != nullptr) return PanelLinear(x, *panels_, activation, 0, panels_->panels());
  if (packed_.defined()) return PackedLinear(x, packed_, bias_, activation);
  return Activate((*this)(x), activation);
}

void Linear::Prepare(KernelChoice& choice, Activation activation) {
  if (choice.PreferPacked(weight_, bias_, activation)) packed_ = PackWeight(weight_);
}

void Linear::PrepareFastest(KernelChoice& choice, Activation activation) {
  const ProductKind kind = choice.Fastest(Measured(activation));
  if (kind == ProductKind::kPacked) packed_ = PackWeight(weight_);
  if (kind == ProductKind::kPanels) PreparePanels(PanelFormat::kFp32);
}

void Linear::PreparePanels(PanelFormat format) {
  panels_ = std::make_shared<const PanelWeight>(PackPanels(weight_, bias_, format));
}

at::Tensor Linear::FastPart(const at::Tensor& x, int64_t first, int64_t count) const {
  constexpr int64_t kWidth = PanelWeight::kWidth;
  TORCH_CHECK(panels_ != nullptr && first % kWidth == 0 && count % kWidth == 0, "a part is made of whole panels");
  return PanelLinear(x, *panels_, Activation::kNone, first / kWidth, (first + count) / kWidth);
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
  return TensorBytes(weight_) * (packed_.defined() ? 2 : 1) + TensorBytes(bias_) +
         (panels_ != nullptr ? panels_->Bytes() : 0);
}

}  // namespace tenon::engine
