#include "worker/engine/kernels/activation.h"

#include "worker/engine/kernels/dropout_draws.h"
#include "worker/engine/kernels/vector.h"

namespace tenon::engine::kernels {
namespace {

struct ValueAndSlope {
  Floats value, slope;
};

TENON_INLINE ValueAndSlope Gelu(Floats x) {
  const Floats size = x < 0.0F ? -x : x;
  const Floats density = Exp(x * x * -0.5F);  // sqrt(2 pi) of it
  const Floats t = 1.0F / (1.0F + size * (0.3275911F * 0.70710678F));
  Floats tail = t * 1.061405429F - 1.453152027F;
  tail = tail * t + 1.421413741F;
  tail = tail * t - 0.284496736F;
  tail = tail * t + 0.254829592F;
  tail *= t * density * 0.5F;  // 1 - Phi(|x|)
  const Floats phi = x < 0.0F ? tail : 1.0F - tail;
  return {x * phi, phi + x * density * 0.39894228F};
}

TENON_INLINE ValueAndSlope GeluTanh(Floats x) {
  constexpr float kScale = 0.79788456F, kCube = 0.044715F;  // sqrt(2 / pi)
  const Floats inner = kScale * x * (1.0F + kCube * x * x);
  const Floats tanh = 1.0F - 2.0F / (Exp(2.0F * inner) + 1.0F);
  const Floats slope = kScale * (1.0F + 3 * kCube * x * x);
  return {0.5F * x * (1.0F + tanh), 0.5F * (1.0F + tanh) + 0.5F * x * (1.0F - tanh * tanh) * slope};
}

// NaN stays NaN, as in torch.
TENON_INLINE ValueAndSlope Relu(Floats x) { return {x < 0.0F ? Floats{} : x, x <= 0.0F ? Floats{} : Splat(1)}; }

TENON_INLINE ValueAndSlope At(Curve curve, Floats x) {
  if (curve == Curve::kGelu) return Gelu(x);
  return curve == Curve::kRelu ? Relu(x) : GeluTanh(x);
}

template <typename Visit>
TENON_INLINE void ForElements(const float* x, const float* bias, int64_t columns, int64_t begin, int64_t end,
                              const Visit& visit) {
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t c = 0; c < columns; c += kLanes) {
      Floats value = LoadFirst(x + row * columns + c, columns - c);
      if (bias != nullptr) value += LoadFirst(bias + c, columns - c);
      visit(row * columns + c, columns - c, value);
    }
  }
}

}  // namespace

TENON_CPU_CLONES
void RunBiasActivation(Curve curve, const float* x, const float* bias, float* y, int64_t columns, int64_t begin,
                       int64_t end) {
  ForElements(
      x, bias, columns, begin, end, [&](int64_t at, int64_t count, Floats value) __attribute__((always_inline)) {
        StoreFirst(y + at, At(curve, value).value, count);
      });
}

TENON_CPU_CLONES
void RunBiasActivationGradient(Curve curve, const float* x, const float* bias, const float* y_grad, float* x_grad,
                               int64_t columns, int64_t begin, int64_t end) {
  ForElements(
      x, bias, columns, begin, end, [&](int64_t at, int64_t count, Floats value) __attribute__((always_inline)) {
        StoreFirst(x_grad + at, LoadFirst(y_grad + at, count) * At(curve, value).slope, count);
      });
}

TENON_CPU_CLONES
void RunGate(const DropoutMask& mask, const float* x, float* y, int64_t columns, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float *a = x + row * 2 * columns, *b = a + columns;
    ForColumns(
        mask, row, columns, [&](int64_t c, int64_t count, Floats keep) __attribute__((always_inline)) {
          const Floats value = GeluTanh(LoadFirst(a + c, count)).value * LoadFirst(b + c, count);
          StoreFirst(y + row * columns + c, value * keep, count);
        });
  }
}

TENON_CPU_CLONES
void RunGateGradient(const DropoutMask& mask, const float* x, const float* y_grad, float* x_grad, int64_t columns,
                     int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float *a = x + row * 2 * columns, *b = a + columns;
    float *a_grad = x_grad + row * 2 * columns, *b_grad = a_grad + columns;
    ForColumns(
        mask, row, columns, [&](int64_t c, int64_t count, Floats keep) __attribute__((always_inline)) {
          const ValueAndSlope at = GeluTanh(LoadFirst(a + c, count));
          const Floats grad = LoadFirst(y_grad + row * columns + c, count) * keep;
          StoreFirst(a_grad + c, grad * LoadFirst(b + c, count) * at.slope, count);
          StoreFirst(b_grad + c, grad * at.value, count);
        });
  }
}

}  // namespace tenon::engine::kernels
