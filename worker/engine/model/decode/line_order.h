// The order in which a step's layers see a decoder's lines: those of each adapter side by side, so that its part of a
// layer is few products. A line's results do not depend on it. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "worker/engine/adapter/mixed.h"
#include "worker/engine/model/decode/line_store.h"

namespace tenon::engine {

class LineOrder {
 public:
  // For these lines from now on.
  void Arrange(const std::vector<LineStore::Line>& lines, at::Device device);

  // Lines by their index, as the layers see them.
  const std::vector<int64_t>& order() const { return order_; }
  // Of a step in that order.
  const ForwardHooks& hooks() const { return hooks_; }
  // A step's states [lines, ...] of that order, as the lines stand.
  at::Tensor Restored(const at::Tensor& states) const;
  // Whether any line's adapter has a part in this module.
  bool Adapts(const std::string& module) const { return mixed_->Has(module); }

 private:
  std::vector<const DeviceAdapter*> adapters_;  // of each line
  std::vector<int64_t> order_;
  at::Tensor places_;  // [lines] int64: a line's place in the order; undefined when it is its own
  std::unique_ptr<const MixedAdapters> mixed_;
  ForwardHooks hooks_;
};

// int64 numbers as a tensor.
at::Tensor Longs(const std::vector<int64_t>& numbers, at::Device device);

}  // namespace tenon::engine
