#include "worker/engine/adapter/mixed.h"

#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>

#include <algorithm>

#include "worker/engine/adapter/bottleneck.h"
#include "worker/engine/adapter/low_rank.h"
#include "worker/engine/model/parallel.h"

namespace tenon::engine {

namespace {

// Lines worth a thread of their own.
constexpr int64_t kLines = 128;

bool HasLines(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.stride(1) == 1 && x.size(1) % 16 == 0;
}

// y += (x A^T) B^T in place; x [lines, in], y [lines, out].
void AddPair(const LoraPair& pair, const at::Tensor& x, const at::Tensor& y) {
  // Placing an adapter puts B's transpose in order.
  const at::Tensor up = pair.b.t();
  if (!HasLines(x) || !HasLines(y) || !pair.a.is_contiguous() || !up.is_contiguous()) {
    y.addmm_(at::mm(x, pair.a.t()), up);
    return;
  }
  const LowRankFactors factors{.down = pair.a.const_data_ptr<float>(),
                               .up = up.const_data_ptr<float>(),
                               .rank = pair.a.size(0),
                               .in = x.size(1),
                               .out = y.size(1)};
  const float* from = x.const_data_ptr<float>();
  float* to = y.mutable_data_ptr<float>();
  ParallelFor(x.size(0), kLines, [&](int64_t begin, int64_t end) {
    AddLowRank(factors, from + begin * x.stride(0), x.stride(0), end - begin, to + begin * y.stride(0), y.stride(0));
  });
}

}  // namespace

MixedAdapters::MixedAdapters(std::vector<AdapterSegment> segments) : segments_(std::move(segments)) {
  for (const AdapterSegment& segment : segments_) {
    if (segment.adapter == nullptr) continue;
    for (const auto& [name, pair] : segment.adapter->pairs) modules_.insert(name);
    for (const auto& [name, block] : segment.adapter->bottlenecks) blocks_.insert(name);
    for (const auto& [name, module] : segment.adapter->modules) {
      if (name != "classifier") modules_.insert(name);
    }
  }
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
  const bool by_row = lines == Lines::kRows;
  for (const AdapterSegment& segment : segments_) {
    if (segment.adapter == nullptr) continue;
    const int64_t first = by_row ? segment.first_row : segment.first_token;
    const int64_t count = by_row ? segment.rows : segment.tokens;
    if (const auto pair = segment.adapter->pairs.find(module); pair != segment.adapter->pairs.end()) {
      AddPair(pair->second, x.narrow(0, first, count), y.narrow(0, first, count));
    } else if (const auto saved = segment.adapter->modules.find(module); saved != segment.adapter->modules.end()) {
      y.narrow(0, first, count).copy_(at::linear(x.narrow(0, first, count), saved->second.weight, saved->second.bias));
    }
  }
  return y;
}

}  // namespace tenon::engine
