#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

#include "worker/engine/model/decode/step_attention.h"
#include "worker/engine/model/decode/token_pool.h"
#include "worker/engine/model/t5/relative_bias.h"

namespace tenon::engine {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// Lines are padded to the longest: one call for all of them.
class PlainAttention final : public StepAttention {
 public:
  PlainAttention(const AttentionSizes& sizes, const RelativeBias* bias, const at::TensorOptions& options)
      : sizes_(sizes),
        width_(sizes.heads * sizes.head_size),
        bias_(bias),
        options_(options),
        pool_(sizes.layers, width_, options) {}

  void Keep(int64_t layer, absl::Span<const int32_t> places, const at::Tensor& qkv, int64_t slots) override {
    pool_.Grow(slots);
    pool_.Put(layer, places, qkv.narrow(1, width_, 2 * width_));
  }

  void Begin(absl::Span<const StepLine* const> lines, int64_t slots) override {
    pool_.Grow(slots);
    BeginTokens(lines);
    std::vector<std::shared_ptr<const SourceStates>> sources;
    for (const StepLine* line : lines) sources.push_back(line->source);
    const bool alone = lines.empty() || lines[0]->source == nullptr;
    if (!alone && sources != sources_) BeginSources(std::move(sources));
  }

  at::Tensor Tokens(int64_t layer, const at::Tensor& qkv) override {
    const at::Tensor& pool = pool_.layer(layer);
    pool.index_copy_(0, newest_, qkv.narrow(1, width_, 2 * width_));
    const int64_t lines = qkv.size(0);
    const at::Tensor kept =
        pool.index_select(0, slots_).view({lines, -1, 2, sizes_.heads, sizes_.head_size}).permute({2, 0, 3, 1, 4});
    return Attend(qkv.narrow(1, 0, width_), kept.select(0, 0), kept.select(0, 1), token_bias_);
  }

  at::Tensor Source(int64_t layer, const at::Tensor& q) override {
    const auto index = static_cast<size_t>(layer);
    return Attend(q, source_keys_[index], source_values_[index], source_mask_);
  }

 private:
  void BeginTokens(absl::Span<const StepLine* const> lines) {
    const auto count = static_cast<int64_t>(lines.size());
    int64_t longest = 0;
    for (const StepLine* line : lines) longest = std::max(longest, static_cast<int64_t>(line->slots.size()));
    const auto host = at::TensorOptions().dtype(at::kLong);
    at::Tensor slots = at::zeros({count * longest}, host), columns = at::zeros({count * longest}, host);
    at::Tensor newest = at::empty({count}, host);
    int64_t* slot = slots.mutable_data_ptr<int64_t>();
    int64_t* column = columns.mutable_data_ptr<int64_t>();
    for (int64_t i = 0; i < count; ++i) {
      const std::vector<int32_t>& own = lines[static_cast<size_t>(i)]->slots;
      const auto length = static_cast<int64_t>(own.size());
      newest.mutable_data_ptr<int64_t>()[i] = own.back();
      std::copy(own.begin(), own.end(), slot + i * longest);
      // What is behind a line's end repeats its first slot, and is kept out by the column behind distance 0.
      std::fill(slot + i * longest + length, slot + (i + 1) * longest, own.front());
      for (int64_t t = 0; t < longest; ++t) column[i * longest + t] = t < length ? longest - length + t : longest;
    }
    slots_ = slots.to(options_.device());
    newest_ = newest.to(options_.device());
    const at::TensorOptions wide = options_.dtype(at::kFloat);
    const at::Tensor distances =
        bias_ == nullptr ? at::zeros({sizes_.heads, longest}, wide) : bias_->Distances(longest - 1, 0);
    const at::Tensor table = at::cat({distances, at::full({sizes_.heads, 1}, kNever, wide)}, 1);
    token_bias_ = table.index_select(1, columns.to(options_.device()))
                      .view({sizes_.heads, count, 1, longest})
                      .transpose(0, 1)
                      .to(c10::typeMetaToScalarType(options_.dtype()));
  }

  void BeginSources(std::vector<std::shared_ptr<const SourceStates>> sources) {
    sources_ = std::move(sources);
    const auto count = static_cast<int64_t>(sources_.size());
    int64_t longest = 0;
    for (const auto& source : sources_) longest = std::max(longest, source->tokens);
    source_keys_.clear();
    source_values_.clear();
    source_mask_ = at::zeros({count, 1, 1, longest}, options_);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t tokens = sources_[static_cast<size_t>(i)]->tokens;
      source_mask_.select(0, i).narrow(2, tokens, longest - tokens).fill_(kNever);
    }
    for (size_t layer = 0; layer < static_cast<size_t>(sizes_.layers); ++layer) {
      at::Tensor keys = at::zeros({count, longest, width_}, options_),
                 values = at::zeros({count, longest, width_}, options_);
      for (int64_t i = 0; i < count; ++i) {
        const SourceStates& source = *sources_[static_cast<size_t>(i)];
        keys.select(0, i).narrow(0, 0, source.tokens).copy_(source.keys[layer]);
        values.select(0, i).narrow(0, 0, source.tokens).copy_(source.values[layer]);
      }
      source_keys_.push_back(Heads(keys));
      source_values_.push_back(Heads(values));
    }
  }

  // [lines, tokens, heads * head_size] -> [lines, heads, tokens, head_size].
  at::Tensor Heads(const at::Tensor& x) const {
    return x.view({x.size(0), x.size(1), sizes_.heads, sizes_.head_size}).transpose(1, 2);
  }

  at::Tensor Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& bias) const {
    const at::Tensor queries = q.reshape({q.size(0), sizes_.heads, 1, sizes_.head_size});
    const at::Tensor added = bias.expand({q.size(0), sizes_.heads, 1, bias.size(3)});
    return at::scaled_dot_product_attention(queries, k, v, added, /*dropout_p=*/0.0, /*is_causal=*/false, /*scale=*/1.0)
        .reshape({q.size(0), width_});
  }

  const AttentionSizes sizes_;
  const int64_t width_;
  const RelativeBias* const bias_;
  const at::TensorOptions options_;
  TokenPool pool_;
  at::Tensor slots_, newest_;                                 // [lines * longest], [lines] int64
  at::Tensor token_bias_;                                     // [lines, heads, 1, longest]
  std::vector<std::shared_ptr<const SourceStates>> sources_;  // of each line
  std::vector<at::Tensor> source_keys_, source_values_;       // of each layer, [lines, heads, longest, head_size]
  at::Tensor source_mask_;                                    // [lines, 1, 1, longest]
};

}  // namespace

std::unique_ptr<StepAttention> MakePlainAttention(const AttentionSizes& sizes, const RelativeBias* bias,
                                                  const at::TensorOptions& options) {
  return std::make_unique<PlainAttention>(sizes, bias, options);
}

}  // namespace tenon::engine
