#include "worker/engine/adapter/mixed.h"

#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "worker/engine/adapter/bottleneck.h"
#include "worker/engine/model/parallel.h"

namespace tenon::engine {

namespace {

// Lines worth a thread of their own.
constexpr int64_t kLinesATask = 16;

bool HasLines(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.stride(1) == 1 && x.size(1) % 16 == 0;
}

std::pair<int64_t, int64_t> Range(const AdapterSegment& segment, Lines lines) {
  return lines == Lines::kRows ? std::pair(segment.first_row, segment.rows)
                               : std::pair(segment.first_token, segment.tokens);
}

}  // namespace

// Placing an adapter puts B's transpose in order.
LowRankFactors MixedAdapters::FactorsOf(const LoraPair& pair) {
  const at::Tensor up = pair.b.t();
  if (!HasLines(pair.a) || !HasLines(up) || !pair.a.is_contiguous() || !up.is_contiguous()) return {};
  return {.down = pair.a.const_data_ptr<float>(),
          .up = up.const_data_ptr<float>(),
          .rank = pair.a.size(0),
          .in = pair.a.size(1),
          .out = up.size(1)};
}

MixedAdapters::MixedAdapters(std::vector<AdapterSegment> segments) : segments_(std::move(segments)) {
  for (const AdapterSegment& segment : segments_) {
    if (segment.adapter == nullptr) continue;
    for (const auto& [name, pair] : segment.adapter->pairs) {
      modules_[name].push_back({.segment = segment, .pair = &pair, .factors = FactorsOf(pair)});
    }
    for (const auto& [name, block] : segment.adapter->bottlenecks) blocks_.insert(name);
    for (const auto& [name, module] : segment.adapter->modules) {
      if (name != formats::kClassifier) modules_[name].push_back({.segment = segment, .saved = &module});
    }
  }
}

ForwardHooks MixedAdapters::Hooks() const {
  ForwardHooks hooks;
  hooks.inference = true;
  if (any()) {
    hooks.linear = std::cref(*this);
    hooks.adapts = [this](const std::string& module) { return Has(module); };
  }
  if (!blocks_.empty()) {
    hooks.blocks = [this](const std::string& module, const at::Tensor& h, const at::Tensor& residual,
                          const FrozenNorm& norm, Lines lines) { return AddBlocks(module, h, residual, norm, lines); };
    hooks.has_block = [this](const std::string& module) { return blocks_.count(module) > 0; };
  }
  if (prompts()) {
    hooks.prompts = [this](const at::Tensor& words, const PackedBatch& batch) { return PutPrompts(words, batch); };
  }
  return hooks;
}

at::Tensor MixedAdapters::AddBlocks(const std::string& module, const at::Tensor& h, const at::Tensor& residual,
                                    const FrozenNorm& norm, Lines lines) const {
  const bool by_row = lines == Lines::kRows;
  for (const AdapterSegment& segment : segments_) {
    if (segment.adapter == nullptr) continue;
    const auto block = segment.adapter->bottlenecks.find(module);
    if (block == segment.adapter->bottlenecks.end()) continue;
    const int64_t first = by_row ? segment.first_row : segment.first_token;
    const int64_t count = by_row ? segment.rows : segment.tokens;
    const at::Tensor own = h.narrow(0, first, count);
    own.add_(RunBottleneck(block->second, segment.adapter->bottleneck, own, residual.narrow(0, first, count), norm));
  }
  return h;
}

bool MixedAdapters::prompts() const {
  return std::any_of(segments_.begin(), segments_.end(), [](const AdapterSegment& segment) {
    return segment.adapter != nullptr && segment.adapter->virtual_tokens() > 0;
  });
}

at::Tensor MixedAdapters::PutPrompts(const at::Tensor& words, const PackedBatch& batch) const {
  for (const AdapterSegment& segment : segments_) {
    const int64_t count = segment.adapter == nullptr ? 0 : segment.adapter->virtual_tokens();
    for (int64_t row = segment.first_row; count > 0 && row < segment.first_row + segment.rows; ++row) {
      words.narrow(0, batch.offsets[row], count).copy_(segment.adapter->prompt_embeddings);
    }
  }
  return words;
}

at::Tensor MixedAdapters::operator()(const std::string& module, const at::Tensor& x, const at::Tensor& y,
                                     Lines lines) const {
  const auto found = modules_.find(module);
  if (found == modules_.end()) return y;
  const bool by_lines = HasLines(x) && HasLines(y);
  for (const Part& part : found->second) {
    const auto [first, count] = Range(part.segment, lines);
    if (part.saved != nullptr) {
      y.narrow(0, first, count).copy_(at::linear(x.narrow(0, first, count), part.saved->weight, part.saved->bias));
    } else if (!by_lines || part.factors.down == nullptr) {
      y.narrow(0, first, count).addmm_(at::mm(x.narrow(0, first, count), part.pair->a.t()), part.pair->b.t());
    }
  }
  if (!by_lines) return y;
  // One loop for all segments: those of a decoder's batch may be a line each.
  const float* from = x.const_data_ptr<float>();
  float* to = y.mutable_data_ptr<float>();
  ParallelFor(x.size(0), kLinesATask, [&, &parts = found->second](int64_t begin, int64_t end) {
    for (const Part& part : parts) {
      const auto [start, count] = Range(part.segment, lines);
      const int64_t first = std::max(begin, start), last = std::min(end, start + count);
      if (part.factors.down == nullptr || first >= last) continue;
      AddLowRank(part.factors, from + first * x.stride(0), x.stride(0), last - first, to + first * y.stride(0),
                 y.stride(0));
    }
  });
  return y;
}

}  // namespace tenon::engine
