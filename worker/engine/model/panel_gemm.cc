#include "worker/engine/model/panel_gemm.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "worker/engine/model/panel_bf16.h"
#include "worker/engine/model/panel_tile.h"

namespace tenon::engine {
namespace {

static_assert(PanelWeight::kWidth == panel::kWidth);

struct Fp32 {
  using Number = float;
  using Weights = vec::Floats;
  static constexpr int64_t kInputs = 1;

  TENON_INLINE static void Load(Weights& to, const Number* from) { vec::Load(to, from); }
  TENON_INLINE static void Add(const Number* x, const Weights& w0, const Weights& w1, vec::Floats* sums) {
    sums[0] += *x * w0;
    sums[1] += *x * w1;
  }
};

// For one processor family alone: elsewhere these sums do not fit the registers, and the library is faster. There is
// plain code for the others all the same, which nobody calls.
#if defined(__x86_64__)
#define TENON_V4 __attribute__((target("arch=x86-64-v4")))
bool HasV4() { return __builtin_cpu_supports("x86-64-v4"); }
#else
#define TENON_V4
bool HasV4() { return false; }
#endif

TENON_V4 void MultiplyFp32(const panel::Product<Fp32>& product, int64_t lines) { panel::Multiply(product, lines); }

// Panels [panels, steps, kWidth, inputs of a step] from weight [out, in].
template <typename Number>
void Pack(const Number* weight, int64_t out, int64_t in, int64_t inputs, Number* to) {
  const int64_t steps = (in + inputs - 1) / inputs, size = steps * inputs * PanelWeight::kWidth;
  for (int64_t o = 0; o < out; ++o) {
    Number* panel = to + o / PanelWeight::kWidth * size + o % PanelWeight::kWidth * inputs;
    for (int64_t k = 0; k < in; ++k) panel[k / inputs * PanelWeight::kWidth * inputs + k % inputs] = weight[o * in + k];
  }
}

}  // namespace

bool PanelWeight::Supported(PanelFormat format) {
  return format == PanelFormat::kBf16 ? panel::SupportsBf16() : HasV4();
}

void PanelWeight::Free::operator()(void* data) const { std::free(data); }

PanelWeight::PanelWeight(const float* weight, const float* bias, int64_t out, int64_t in, PanelFormat format)
    : out_(out), in_(in), format_(format) {
  constexpr int64_t kCacheLine = 64;
  const auto bytes = static_cast<size_t>((Bytes() + kCacheLine - 1) / kCacheLine * kCacheLine);
  data_.reset(static_cast<char*>(std::aligned_alloc(kCacheLine, bytes)));
  if (data_ == nullptr) throw std::bad_alloc();
  std::memset(data_.get(), 0, bytes);
  if (format == PanelFormat::kFp32) {
    Pack(weight, out, in, Fp32::kInputs, reinterpret_cast<float*>(data_.get()));
  } else {
    std::vector<uint16_t> rounded(static_cast<size_t>(out * in));
    panel::RoundToBf16(weight, out * in, rounded.data());
    Pack<uint16_t>(rounded.data(), out, in, 2, reinterpret_cast<uint16_t*>(data_.get()));
  }
  if (bias != nullptr) std::copy(bias, bias + out, reinterpret_cast<float*>(data_.get() + panels() * PanelBytes()));
}

int64_t PanelWeight::PanelBytes() const {
  const size_t number = format_ == PanelFormat::kBf16 ? sizeof(uint16_t) : sizeof(float);
  return kWidth * line_size() * static_cast<int64_t>(number);
}

int64_t PanelWeight::Bytes() const { return panels() * (PanelBytes() + kWidth * static_cast<int64_t>(sizeof(float))); }

const float* PanelWeight::Bias(int64_t panel) const {
  return reinterpret_cast<const float*>(data_.get() + panels() * PanelBytes()) + panel * kWidth;
}

void PanelWeight::Multiply(const float* x, int64_t x_stride, int64_t lines, Activation activation, int64_t first,
                           int64_t last, float* y, int64_t y_stride) const {
  for (int64_t p = first; p < last; ++p) {
    const auto* weights = reinterpret_cast<const float*>(data_.get() + p * PanelBytes());
    MultiplyFp32({x, x_stride, weights, in_, Bias(p), activation, std::min(kWidth, out_ - p * kWidth),
                  y + (p - first) * kWidth, y_stride},
                 lines);
  }
}

void PanelWeight::Multiply(const uint16_t* x, int64_t x_stride, int64_t lines, Activation activation, int64_t first,
                           int64_t last, float* y, int64_t y_stride) const {
  for (int64_t p = first; p < last; ++p) {
    const auto* weights = reinterpret_cast<const uint16_t*>(data_.get() + p * PanelBytes());
    panel::MultiplyBf16(x, x_stride, lines, weights, line_size() / 2, Bias(p), activation,
                        std::min(kWidth, out_ - p * kWidth), y + (p - first) * kWidth, y_stride);
  }
}

void PanelWeight::Round(const float* x, int64_t x_stride, int64_t lines, uint16_t* y) const {
  for (int64_t t = 0; t < lines; ++t) {
    uint16_t* line = y + t * line_size();
    panel::RoundToBf16(x + t * x_stride, in_, line);
    if (line_size() > in_) line[in_] = 0;
  }
}

}  // namespace tenon::engine
