#include "worker/engine/model/t5/encoder.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::engine {

absl::StatusOr<T5Encoder> T5Encoder::Read(T5Reader& reader, const formats::T5Config& config) {
  T5Encoder encoder;
  encoder.heads_ = config.num_heads;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const std::string block = absl::StrCat("encoder.block.", i, ".layer.");
    T5EncoderLayer layer;
    ASSIGN_OR_RETURN(layer.attention, reader.SelfAttention(block + "0"));
    ASSIGN_OR_RETURN(layer.feed_forward, reader.FeedForwardBlock(block + "1"));
    encoder.layers_.push_back(std::move(layer));
  }
  ASSIGN_OR_RETURN(encoder.bias_, reader.Bias("encoder", /*both_ways=*/true));
  ASSIGN_OR_RETURN(encoder.final_norm_, reader.FinalNorm("encoder"));
  return encoder;
}

at::Tensor T5Encoder::operator()(at::Tensor x, const PackedBatch& batch, const ForwardHooks& hooks,
                                 bool own_kernels) const {
  std::optional<BiasTable> table;
  if (own_kernels) table.emplace(bias_, batch.max_length() - 1, batch.max_length() - 1);
  at::Tensor normed = layers_[0].attention.norm(x);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const T5EncoderLayer& layer = layers_[i];
    const at::Tensor qkv = layer.attention.qkv(normed, hooks, Lines::kTokens);
    const at::Tensor context = AttendRows(qkv, batch, heads_, bias_, table ? &*table : nullptr);
    normed = layer.feed_forward.norm.AddAndNorm(x, layer.attention.o.Last(context, x, hooks, Lines::kTokens));
    const RmsNorm& next = i + 1 < layers_.size() ? layers_[i + 1].attention.norm : final_norm_;
    normed = next.AddAndNorm(x, layer.feed_forward(normed, x, hooks, Lines::kTokens));
  }
  return normed;
}

int64_t T5Encoder::Bytes() const {
  int64_t bytes = bias_.Bytes() + final_norm_.Bytes();
  for (const T5EncoderLayer& layer : layers_) bytes += layer.attention.Bytes() + layer.feed_forward.Bytes();
  return bytes;
}

}  // namespace tenon::engine
