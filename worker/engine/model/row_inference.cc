#include "worker/engine/model/row_inference.h"

#include <ATen/ops/empty.h>

#include <cmath>

#include "worker/engine/model/add_norm.h"
#include "worker/engine/model/parallel.h"

namespace tenon::engine {
namespace {

AttentionLines LinesOf(const at::Tensor& x) {
  TORCH_CHECK(x.scalar_type() == at::kFloat && x.stride(1) == 1, "attention reads fp32 lines");
  return {x.const_data_ptr<float>(), x.stride(0)};
}

// Lines that one thread takes at a time, where the work is one pass over them.
constexpr int64_t kRowLines = 64;

}  // namespace

PanelWeight PackPanels(const at::Tensor& weight, const at::Tensor& bias, PanelFormat format) {
  const at::Tensor w = weight.to(at::kFloat).contiguous(), b = bias.to(at::kFloat).contiguous();
  return PanelWeight(w.const_data_ptr<float>(), b.const_data_ptr<float>(), w.size(0), w.size(1), format);
}

at::Tensor PanelLinear(const at::Tensor& x, const PanelWeight& weight, Activation activation, int64_t first,
                       int64_t last) {
  TORCH_CHECK(x.scalar_type() == at::kFloat && x.stride(1) == 1 && x.size(1) == weight.in(), "lines do not fit");
  const int64_t outputs = std::min(weight.out(), last * PanelWeight::kWidth) - first * PanelWeight::kWidth;
  at::Tensor y = at::empty({x.size(0), outputs}, x.options());
  const float* from = x.const_data_ptr<float>();
  float* to = y.mutable_data_ptr<float>();
  const auto multiply = [&](const auto* lines, int64_t stride) {
    ParallelFor(last - first, 1, [&](int64_t begin, int64_t end) {
      weight.Multiply(lines, stride, x.size(0), activation, first + begin, first + end,
                      to + begin * PanelWeight::kWidth, outputs);
    });
  };
  if (weight.format() == PanelFormat::kFp32) {
    multiply(from, x.stride(0));
    return y;
  }
  const int64_t size = weight.line_size();
  const at::Tensor rounded = at::empty({x.size(0), size}, x.options().dtype(at::kBFloat16));
  auto* lines = static_cast<uint16_t*>(rounded.mutable_data_ptr());
  ParallelFor(x.size(0), kRowLines, [&](int64_t begin, int64_t end) {
    weight.Round(from + begin * x.stride(0), x.stride(0), end - begin, lines + begin * size);
  });
  multiply(static_cast<const uint16_t*>(lines), size);
  return y;
}

at::Tensor SpanAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const std::vector<AttentionSpan>& spans, int64_t heads) {
  AttentionInput input{.q = LinesOf(q), .k = LinesOf(k), .v = LinesOf(v), .heads = heads};
  input.head_size = q.size(1) / heads;
  input.scale = 1 / std::sqrt(static_cast<float>(input.head_size));
  at::Tensor out = at::empty({q.size(0), q.size(1)}, q.options());
  float* to = out.mutable_data_ptr<float>();
  ParallelFor(static_cast<int64_t>(spans.size()) * heads, 1,
              [&](int64_t begin, int64_t end) { Attend(input, spans, begin, end, to, out.size(1)); });
  return out;
}

void AddNorm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias,
             double eps) {
  TORCH_CHECK(x.scalar_type() == at::kFloat && x.is_contiguous(), "a norm works in place on fp32 lines");
  TORCH_CHECK(!residual.defined() || (residual.scalar_type() == at::kFloat && residual.is_contiguous()));
  const int64_t size = x.size(1);
  float* data = x.mutable_data_ptr<float>();
  const float* other = residual.defined() ? residual.const_data_ptr<float>() : nullptr;
  const float *w = weight.const_data_ptr<float>(), *b = bias.const_data_ptr<float>();
  ParallelFor(x.size(0), kRowLines, [&](int64_t begin, int64_t end) {
    AddNorm(data + begin * size, other == nullptr ? nullptr : other + begin * size, w, b, static_cast<float>(eps),
            end - begin, size);
  });
}

}  // namespace tenon::engine
