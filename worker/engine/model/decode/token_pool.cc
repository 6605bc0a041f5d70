#include "worker/engine/model/decode/token_pool.h"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace tenon::engine {
namespace {

constexpr int64_t kFirstSlots = 256;

}  // namespace

TokenPool::TokenPool(int64_t layers, int64_t width, const at::TensorOptions& options)
    : width_(width), options_(options), layers_(static_cast<size_t>(layers)) {}

void TokenPool::Grow(int64_t slots) {
  if (slots <= slots_) return;
  const int64_t before = slots_;
  slots_ = std::max({slots, 2 * slots_, kFirstSlots});
  for (at::Tensor& layer : layers_) {
    at::Tensor larger = at::empty({slots_, 2 * width_}, options_);
    if (before > 0) larger.narrow(0, 0, before).copy_(layer);
    layer = std::move(larger);
  }
}

void TokenPool::Put(int64_t index, absl::Span<const int32_t> slots, const at::Tensor& kv) {
  at::Tensor places = at::empty({static_cast<int64_t>(slots.size())}, at::TensorOptions().dtype(at::kLong));
  std::copy(slots.begin(), slots.end(), places.mutable_data_ptr<int64_t>());
  layers_[static_cast<size_t>(index)].index_copy_(0, places.to(options_.device()), kv);
}

}  // namespace tenon::engine
