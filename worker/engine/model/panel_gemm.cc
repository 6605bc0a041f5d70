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

// Panels [panels, in, kWidth] from weight [out, in].
void PackFp32(const float* weight, int64_t out, int64_t in, float* to) {
  for (int64_t o = 0; o < out; ++o) {
    float* panel = to + o / PanelWeight::kWidth * PanelWeight::kWidth * in + o % PanelWeight::kWidth;
    for (int64_t k = 0; k < in; ++k) panel[k * PanelWeight::kWidth] = weight[o * in + k];
  }
}

// Panels [panels, steps, kWidth, 2] from weight [out, in], rounded.
void PackBf16(const float* weight, int64_t out, int64_t in, uint16_t* to) {
  const int64_t size = panel::Bf16LineSize(in);
  std::vector<uint16_t> rounded(static_cast<size_t>(out * size));
  panel::RoundLines(weight, in, out, in, rounded.data());
  for (int64_t o = 0; o < out; o += PanelWeight::kWidth) {
    panel::PackBf16(rounded.data() + o * size, size, in, std::min(PanelWeight::kWidth, out - o), /*turned=*/false,
                    to + o * size);
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
    PackFp32(weight, out, in, reinterpret_cast<float*>(data_.get()));
  } else {
    PackBf16(weight, out, in, reinterpret_cast<uint16_t*>(data_.get()));
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

int64_t PanelWeight::line_size() const { return format_ == PanelFormat::kBf16 ? panel::Bf16LineSize(in_) : in_; }

void PanelWeight::Round(const float* x, int64_t x_stride, int64_t lines, uint16_t* y) const {
  panel::RoundLines(x, x_stride, lines, in_, y);
}

}  // namespace tenon::engine
