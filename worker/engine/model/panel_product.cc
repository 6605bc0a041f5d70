#include "worker/engine/model/panel_product.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "worker/engine/model/panel_bf16.h"
#include "worker/engine/model/panel_gemm.h"
#include "worker/engine/model/parallel.h"

namespace tenon::engine {
namespace {

constexpr int64_t kWidth = PanelWeight::kWidth;
// Lines that one thread rounds at a time.
constexpr int64_t kPassLines = 64;

}  // namespace

bool HavePanelProduct() { return PanelWeight::Supported(PanelFormat::kBf16); }

at::Tensor PanelProduct(const at::Tensor& x, const at::Tensor& weight, bool turned) {
  TORCH_CHECK(x.scalar_type() == at::kFloat && x.stride(1) == 1, "the product takes fp32 lines");
  TORCH_CHECK(weight.scalar_type() == at::kBFloat16 && weight.is_contiguous(), "the weight is one block of bf16");
  const int64_t lines = x.size(0), inputs = weight.size(turned ? 0 : 1), outputs = weight.size(turned ? 1 : 0);
  TORCH_CHECK(x.size(1) == inputs, "lines do not fit the weight");
  const int64_t size = panel::Bf16LineSize(inputs), steps = size / 2;
  const at::Tensor rounded = at::empty({lines, size}, x.options().dtype(at::kBFloat16));
  auto* const low = static_cast<uint16_t*>(rounded.mutable_data_ptr());
  const float* const from = x.const_data_ptr<float>();
  ParallelFor(lines, kPassLines, [&](int64_t begin, int64_t end) {
    panel::RoundLines(from + begin * x.stride(0), x.stride(0), end - begin, inputs, low + begin * size);
  });
  at::Tensor y = at::empty({lines, outputs}, x.options());
  float* const to = y.mutable_data_ptr<float>();
  const auto* const weights = static_cast<const uint16_t*>(weight.const_data_ptr());
  ParallelFor((outputs + kWidth - 1) / kWidth, 1, [&](int64_t begin, int64_t end) {
    // A panel is read right behind its packing, while it is near.
    std::vector<uint16_t> panel(static_cast<size_t>(size * kWidth));
    const float none[kWidth] = {};
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p * kWidth, width = std::min(kWidth, outputs - first);
      panel::PackBf16(weights + (turned ? first : first * weight.size(1)), weight.size(1), inputs, width, turned,
                      panel.data());
      panel::MultiplyBf16(low, size, lines, panel.data(), steps, none, Activation::kNone, width, to + first, outputs);
    }
  });
  return y;
}

}  // namespace tenon::engine
