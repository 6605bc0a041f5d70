#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#include "worker/engine/model/decode/step_attention.h"
#include "worker/engine/model/decode/token_pool.h"
#include "worker/engine/model/decode_attend.h"
#include "worker/engine/model/parallel.h"
#include "worker/engine/model/t5/relative_bias.h"

namespace tenon::engine {
namespace {

// Products of a query with a key that are worth a thread's start.
constexpr int64_t kKeysAThread = 256;

// Units of `heads` each for every entry that one thread should take at least.
int64_t Grain(int64_t keys, int64_t units) {
  return std::max<int64_t>(1, kKeysAThread * units / std::max<int64_t>(keys, 1));
}

class KernelAttention final : public StepAttention {
 public:
  KernelAttention(const AttentionSizes& sizes, const RelativeBias* bias)
      : sizes_(sizes),
        width_(sizes.heads * sizes.head_size),
        bias_(bias),
        pool_(sizes.layers, width_, at::TensorOptions().dtype(at::kFloat)) {}

  void Keep(int64_t layer, absl::Span<const int32_t> places, const at::Tensor& qkv, int64_t slots) override {
    pool_.Grow(slots);
    pool_.Put(layer, places, qkv.narrow(1, width_, 2 * width_));
  }

  void Begin(absl::Span<const StepLine* const> lines, int64_t slots) override {
    pool_.Grow(slots);
    lines_.clear();
    runs_.clear();
    sources_.clear();
    int64_t longest = 0;
    keys_ = source_keys_ = 0;
    for (const StepLine* line : lines) {
      const auto length = static_cast<int64_t>(line->slots.size());
      lines_.push_back({line->slots.data(), length});
      longest = std::max(longest, length);
      keys_ += length;
      if (line->source == nullptr) continue;
      source_keys_ += line->source->tokens;
      // Beams of a request are neighbours: what they share is read once.
      if (sources_.empty() || sources_.back() != line->source.get()) {
        sources_.push_back(line->source.get());
        runs_.push_back({.keys = line->source->tokens, .first_line = static_cast<int64_t>(lines_.size()) - 1});
      }
      ++runs_.back().lines;
    }
    if (bias_ != nullptr && longest - 1 > table_.back()) {
      table_ = BiasTable(*bias_, std::max<int64_t>(63, 2 * longest), 0);
    }
  }

  at::Tensor Tokens(int64_t layer, const at::Tensor& qkv) override {
    const float* from = qkv.const_data_ptr<float>();
    float* kept = pool_.layer(layer).mutable_data_ptr<float>();
    for (size_t i = 0; i < lines_.size(); ++i) {
      const int64_t slot = lines_[i].slots[lines_[i].length - 1];
      std::memcpy(kept + slot * 2 * width_, from + static_cast<int64_t>(i) * qkv.stride(0) + width_,
                  static_cast<size_t>(2 * width_) * sizeof(float));
    }
    at::Tensor out = at::empty({qkv.size(0), width_}, qkv.options());
    float* to = out.mutable_data_ptr<float>();
    const StepQueries step = Queries(qkv);
    const DistanceBias bias = bias_ == nullptr ? DistanceBias{} : table_.view();
    const int64_t units = qkv.size(0) * sizes_.heads;
    ParallelFor(units, Grain(keys_ * sizes_.heads, units), [&](int64_t begin, int64_t end) {
      AttendSlots(step, {kept, 2 * width_}, lines_, bias, begin, end, to, width_);
    });
    return out;
  }

  at::Tensor Source(int64_t layer, const at::Tensor& q) override {
    for (size_t i = 0; i < runs_.size(); ++i) {
      runs_[i].keys_turned = sources_[i]->keys[static_cast<size_t>(layer)].const_data_ptr<float>();
      runs_[i].values = sources_[i]->values[static_cast<size_t>(layer)].const_data_ptr<float>();
    }
    at::Tensor out = at::empty({q.size(0), width_}, q.options());
    float* to = out.mutable_data_ptr<float>();
    const StepQueries step = Queries(q);
    const int64_t units = static_cast<int64_t>(runs_.size()) * sizes_.heads;
    ParallelFor(units, Grain(source_keys_ * sizes_.heads, units),
                [&](int64_t begin, int64_t end) { AttendSources(step, runs_, begin, end, to, width_); });
    return out;
  }

 private:
  StepQueries Queries(const at::Tensor& q) const {
    return {.q = {q.const_data_ptr<float>(), q.stride(0)}, .heads = sizes_.heads, .head_size = sizes_.head_size};
  }

  const AttentionSizes sizes_;
  const int64_t width_;
  const RelativeBias* const bias_;
  TokenPool pool_;
  BiasTable table_;
  std::vector<SlotLine> lines_;
  std::vector<SourceRun> runs_;
  std::vector<const SourceStates*> sources_;  // of each run
  int64_t keys_ = 0, source_keys_ = 0;        // of all lines together
};

}  // namespace

std::unique_ptr<StepAttention> MakeKernelAttention(const AttentionSizes& sizes, const RelativeBias* bias) {
  return std::make_unique<KernelAttention>(sizes, bias);
}

}  // namespace tenon::engine
