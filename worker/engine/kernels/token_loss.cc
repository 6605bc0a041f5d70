#include "worker/engine/kernels/token_loss.h"

#include <cmath>
#include <limits>

#include "worker/engine/kernels/vector.h"

namespace tenon::engine::kernels {

TENON_CPU_CLONES
void RunTokenLoss(const TokenLoss& tokens, int64_t begin, int64_t end) {
  const int64_t columns = tokens.columns;
  const Floats nothing = Splat(-std::numeric_limits<float>::infinity());
  for (int64_t row = begin; row < end; ++row) {
    float* logits = tokens.logits + row * columns;
    Floats top = nothing;
    for (int64_t c = 0; c < columns; c += kLanes) {
      top = Max(top, KeepFirst(LoadFirst(logits + c, columns - c), columns - c, nothing));
    }
    const float largest = Largest(top), of_target = logits[tokens.targets[row]];
    Floats sum{};
    for (int64_t c = 0; c < columns; c += kLanes) {
      const Floats value = KeepFirst(Exp(LoadFirst(logits + c, columns - c) - largest), columns - c);
      sum += value;
      if (tokens.gradient) StoreFirst(logits + c, value, columns - c);
    }
    const float total = Sum(sum);
    tokens.loss[row] = std::log(total) + largest - of_target;
    tokens.right[row] = of_target >= largest;
    if (!tokens.gradient) continue;
    const float inverse = 1 / total;
    for (int64_t c = 0; c < columns; c += kLanes) {
      StoreFirst(logits + c, LoadFirst(logits + c, columns - c) * inverse, columns - c);
    }
    logits[tokens.targets[row]] -= 1;
  }
}

}  // namespace tenon::engine::kernels
