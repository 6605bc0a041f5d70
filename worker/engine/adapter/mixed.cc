#include "worker/engine/adapter/mixed.h"

#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>

namespace tenon::engine {

MixedAdapters::MixedAdapters(std::vector<AdapterSegment> segments) : segments_(std::move(segments)) {
  for (const AdapterSegment& segment : segments_) {
    if (segment.adapter == nullptr) continue;
    for (const auto& [name, pair] : segment.adapter->pairs) modules_.insert(name);
    for (const auto& [name, module] : segment.adapter->modules) {
      if (name != "classifier") modules_.insert(name);
    }
  }
}

at::Tensor MixedAdapters::operator()(const std::string& module, const at::Tensor& x, const at::Tensor& y,
                                     Lines lines) const {
  const bool by_row = lines == Lines::kRows;
  for (const AdapterSegment& segment : segments_) {
    if (segment.adapter == nullptr) continue;
    const int64_t first = by_row ? segment.first_row : segment.first_token;
    const int64_t count = by_row ? segment.rows : segment.tokens;
    if (const auto pair = segment.adapter->pairs.find(module); pair != segment.adapter->pairs.end()) {
      const at::Tensor low = at::mm(x.narrow(0, first, count), pair->second.a.t());
      y.narrow(0, first, count).addmm_(low, pair->second.b.t());
    } else if (const auto saved = segment.adapter->modules.find(module); saved != segment.adapter->modules.end()) {
      y.narrow(0, first, count).copy_(at::linear(x.narrow(0, first, count), saved->second.weight, saved->second.bias));
    }
  }
  return y;
}

}  // namespace tenon::engine
