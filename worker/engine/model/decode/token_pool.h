// Room for the keys and values of decoded tokens, in every layer. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace tenon::engine {

// A tensor for each layer, [slots, 2 * width]: a token's keys, then its values. It grows by doubling; what is there
// stays in its slot.
class TokenPool {
 public:
  TokenPool(int64_t layers, int64_t width, const at::TensorOptions& options);

  void Grow(int64_t slots);
  // Puts keys and values of layer `index` into their slots: kv [tokens, 2 * width].
  void Put(int64_t index, absl::Span<const int32_t> slots, const at::Tensor& kv);
  const at::Tensor& layer(int64_t index) const { return layers_[static_cast<size_t>(index)]; }

 private:
  int64_t width_, slots_ = 0;
  at::TensorOptions options_;
  std::vector<at::Tensor> layers_;
};

}  // namespace tenon::engine
