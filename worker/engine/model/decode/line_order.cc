#include "worker/engine/model/decode/line_order.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "worker/engine/adapter/adapter.h"

namespace tenon::engine {

at::Tensor Longs(const std::vector<int64_t>& numbers, at::Device device) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(numbers.size())}, at::TensorOptions().dtype(at::kLong));
  std::copy(numbers.begin(), numbers.end(), tensor.mutable_data_ptr<int64_t>());
  return tensor.to(device);
}

void LineOrder::Arrange(const std::vector<LineStore::Line>& lines, at::Device device) {
  std::vector<const DeviceAdapter*> adapters;
  for (const LineStore::Line& line : lines) adapters.push_back(line.adapter);
  if (adapters == adapters_ && mixed_ != nullptr) return;
  adapters_ = std::move(adapters);
  std::map<const DeviceAdapter*, size_t> seen;
  std::vector<size_t> rank;
  for (const DeviceAdapter* adapter : adapters_) rank.push_back(seen.emplace(adapter, seen.size()).first->second);
  order_.resize(adapters_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(),
                   [&](int64_t a, int64_t b) { return rank[static_cast<size_t>(a)] < rank[static_cast<size_t>(b)]; });
  std::vector<int64_t> places(order_.size());
  std::vector<AdapterSegment> segments;
  for (size_t i = 0; i < order_.size(); ++i) {
    const auto line = static_cast<size_t>(order_[i]);
    places[line] = static_cast<int64_t>(i);
    if (i == 0 || adapters_[line] != adapters_[static_cast<size_t>(order_[i - 1])]) {
      const DeviceAdapter* adapter = adapters_[line];
      segments.push_back(
          {.adapter = adapter == nullptr ? nullptr : &adapter->tensors(), .first_row = static_cast<int64_t>(i)});
    }
    ++segments.back().rows;
  }
  places_ = std::is_sorted(order_.begin(), order_.end()) ? at::Tensor() : Longs(places, device);
  mixed_ = std::make_unique<const MixedAdapters>(std::move(segments));
  hooks_ = mixed_->Hooks();
}

at::Tensor LineOrder::Restored(const at::Tensor& states) const {
  return places_.defined() ? states.index_select(0, places_) : states;
}

}  // namespace tenon::engine
