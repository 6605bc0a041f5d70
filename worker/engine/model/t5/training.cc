#include "worker/engine/model/t5/training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "worker/engine/kernels/attention.h"
#include "worker/engine/model/fused.h"

namespace tenon::engine {
namespace {

// What the plain operators need of rows that are padded to the longest.
void Pad(at::Device device, T5Rows& rows) {
  const std::vector<int64_t>& offsets = rows.batch.offsets;
  const int64_t count = rows.batch.rows(), longest = rows.longest;
  std::vector<int64_t> places, restore;
  at::Tensor missing = at::zeros({count, 1, 1, longest});
  float* mask = missing.mutable_data_ptr<float>();
  for (int64_t r = 0; r < count; ++r) {
    const int64_t length = offsets[r + 1] - offsets[r];
    for (int64_t i = 0; i < longest; ++i) places.push_back(offsets[r] + std::min(i, length - 1));
    for (int64_t i = 0; i < length; ++i) restore.push_back(r * longest + i);
    std::fill(mask + r * longest + length, mask + (r + 1) * longest, -std::numeric_limits<float>::infinity());
  }
  rows.places = at::tensor(places, at::kLong).to(device);
  rows.restore = at::tensor(restore, at::kLong).to(device);
  rows.missing = missing.to(device);
}

// [T, heads * size] -> [R, heads, longest, size].
at::Tensor Padded(const at::Tensor& x, const T5Rows& rows, int64_t heads) {
  return x.index_select(0, rows.places)
      .view({rows.batch.rows(), rows.longest, heads, x.size(1) / heads})
      .transpose(1, 2);
}

}  // namespace

T5Rows T5Training::Rows(absl::Span<const std::vector<int32_t>* const> rows, int64_t virtual_tokens, bool causal) const {
  T5Rows made;
  const std::vector<int64_t> before(rows.size(), virtual_tokens);
  made.batch = Pack(rows, model_.device(), /*round_to=*/1, /*grouped=*/false, before);
  made.causal = causal;
  made.longest = made.batch.max_length();
  if (!fused()) Pad(model_.device(), made);
  if (!BiasOf(made).weight().requires_grad()) AddBias(made);
  return made;
}

const RelativeBias& T5Training::BiasOf(const T5Rows& rows) const {
  return rows.causal ? model_.decoder_bias() : model_.encoder().bias();
}

void T5Training::AddBias(T5Rows& rows) const {
  const RelativeBias& bias = BiasOf(rows);
  if (fused()) {
    const int64_t reach = rows.longest - 1;
    rows.distances = {bias.Distances(reach, reach + kernels::kSpareDistances).contiguous(), reach};
    return;
  }
  rows.scores = bias.Square(rows.longest).unsqueeze(0);
  if (rows.causal) {
    const at::Tensor ahead = at::full({rows.longest, rows.longest}, -std::numeric_limits<float>::infinity()).triu(1);
    rows.scores = rows.scores + ahead.to(rows.scores.device());
  }
}

T5Rows T5Training::Sources(absl::Span<const std::vector<int32_t>* const> rows, int64_t virtual_tokens) const {
  return Rows(rows, virtual_tokens, /*causal=*/false);
}

T5Rows T5Training::Targets(absl::Span<const std::vector<int32_t>* const> rows) const {
  return Rows(rows, 0, /*causal=*/true);
}

at::Tensor T5Training::EmbedSources(const T5Rows& sources) const {
  at::Tensor x = at::embedding(model_.embedding(), sources.batch.ids);
  if (fused()) x = x.to(at::kFloat);
  return Dropped(hooks_.prompts ? hooks_.prompts(x, sources.batch) : x);
}

at::Tensor T5Training::EmbedTargets(const T5Rows& targets) const {
  const at::Tensor x = at::embedding(model_.embedding(), targets.batch.ids);
  return Dropped(fused() ? x.to(at::kFloat) : x);
}

at::Tensor T5Training::Dropped(const at::Tensor& x) const {
  if (fused()) return Dropout(x, hooks_.fused->dropout(hooks_.hidden_dropout));
  return hooks_.dropout ? hooks_.dropout(x, hooks_.hidden_dropout) : x;
}

at::Tensor T5Training::Normed(const at::Tensor& x, const RmsNorm& norm) const {
  return fused() ? RmsNormalized(x, norm.fused()) : norm.Plain(x);
}

at::Tensor T5Training::Multiply(const JointLinear& joint, const at::Tensor& x) const {
  const at::Tensor& weight = joint.linear().weight();
  if (weight.requires_grad()) return at::linear(x, weight);
  const std::vector<std::string>& modules = joint.modules();
  const int64_t width = joint.linear().out() / static_cast<int64_t>(modules.size());
  const auto replaces = [&](const std::string& module) { return hooks_.fused->replaces(module); };
  if (fused() && std::none_of(modules.begin(), modules.end(), replaces)) {
    std::vector<LowRank> adapters;
    for (size_t i = 0; i < modules.size(); ++i) {
      std::optional<LowRank> adapter = hooks_.fused->low_rank(modules[i]);
      if (!adapter.has_value()) continue;
      adapter->first = static_cast<int64_t>(i) * width;
      adapters.push_back(*std::move(adapter));
    }
    return AdaptedLinear(x, weight, adapters);
  }
  std::vector<at::Tensor> parts = joint.linear()(x).split(width, 1);
  for (size_t i = 0; i < modules.size(); ++i) {
    if (Adapts(modules[i])) parts[i] = hooks_.linear(modules[i], x, parts[i], Lines::kTokens);
  }
  return parts.size() == 1 ? parts[0] : at::cat(parts, 1);
}

at::Tensor T5Training::Add(const at::Tensor& product, const JointLinear& joint, const at::Tensor& residual) const {
  const std::string& module = joint.modules().front();
  at::Tensor h = Dropped(product);
  if (hooks_.blocks && hooks_.has_block(module)) {
    const FrozenNorm none;  // the norms stand before the sub-layers
    h = hooks_.blocks(module, h, residual, none, Lines::kTokens);
  }
  return residual + h;
}

T5Training::Sum T5Training::AddAndNorm(const at::Tensor& product, const JointLinear& joint, const at::Tensor& residual,
                                       const RmsNorm& norm) const {
  if (fused() && !(hooks_.blocks && hooks_.has_block(joint.modules().front()))) {
    const auto [x, normed] =
        DropoutAddRms(product, residual, norm.fused(), hooks_.fused->dropout(hooks_.hidden_dropout));
    return {x, normed};
  }
  const at::Tensor x = Add(product, joint, residual);
  return {x, Normed(x, norm)};
}

at::Tensor T5Training::PlainAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const T5Rows& rows,
                                      const T5Rows& keys) const {
  const int64_t heads = model_.config().num_heads;
  at::Tensor scores = at::matmul(Padded(q, rows, heads), Padded(k, keys, heads).transpose(2, 3));
  // In fp32 as transformers has it: what is added is fp32.
  scores = scores.to(at::kFloat) + keys.missing;
  if (&rows == &keys) scores = scores + rows.scores;
  at::Tensor probabilities = at::softmax(scores, -1).to(q.scalar_type());
  if (hooks_.dropout) probabilities = hooks_.dropout(probabilities, hooks_.attention_dropout);
  const at::Tensor context = at::matmul(probabilities, Padded(v, keys, heads)).transpose(1, 2);
  return context.reshape({rows.batch.rows() * rows.longest, q.size(1)}).index_select(0, rows.restore);
}

at::Tensor T5Training::Attend(const at::Tensor& qkv, const T5Rows& rows) const {
  if (!rows.distances.numbers.defined() && !rows.scores.defined()) {
    // Numbers that are trained are made in each layer, so that its gradients reach them.
    T5Rows with_bias = rows;
    AddBias(with_bias);
    return Attend(qkv, with_bias);
  }
  if (fused()) {
    return DistanceAttention(qkv, rows.batch.offsets, model_.config().num_heads, rows.distances, rows.causal,
                             hooks_.fused->dropout(hooks_.attention_dropout));
  }
  const std::vector<at::Tensor> parts = qkv.split(qkv.size(1) / 3, 1);
  return PlainAttention(parts[0], parts[1], parts[2], rows, rows);
}

at::Tensor T5Training::AttendSource(const at::Tensor& q, const at::Tensor& kv, const T5Rows& rows,
                                    const T5Rows& sources) const {
  if (fused()) {
    return SourceAttention(q, kv, rows.batch.offsets, sources.batch.offsets, model_.config().num_heads,
                           hooks_.fused->dropout(hooks_.attention_dropout));
  }
  const std::vector<at::Tensor> parts = kv.split(kv.size(1) / 2, 1);
  return PlainAttention(q, parts[0], parts[1], rows, sources);
}

at::Tensor T5Training::FeedForwardProduct(const FeedForward& block, const at::Tensor& normed) const {
  const at::Tensor wide = Multiply(block.wi, normed);
  if (!block.gated) {
    const at::Tensor bent = fused() ? BiasActivation(wide, {}, Activation::kRelu) : at::relu(wide);
    return Multiply(block.wo, Dropped(bent));
  }
  if (fused()) return Multiply(block.wo, DropoutGate(wide, hooks_.fused->dropout(hooks_.hidden_dropout)));
  const std::vector<at::Tensor> halves = wide.split(wide.size(1) / 2, 1);
  return Multiply(block.wo, Dropped(at::gelu(halves[0], "tanh") * halves[1]));
}

at::Tensor T5Training::EncoderLayer(int64_t index, const at::Tensor& x, const T5Rows& sources) const {
  const T5EncoderLayer& layer = model_.encoder().layers()[static_cast<size_t>(index)];
  const at::Tensor qkv = Multiply(layer.attention.qkv, Normed(x, layer.attention.norm));
  const Sum middle =
      AddAndNorm(Multiply(layer.attention.o, Attend(qkv, sources)), layer.attention.o, x, layer.feed_forward.norm);
  const at::Tensor product = FeedForwardProduct(layer.feed_forward, middle.normed);
  if (index + 1 < model_.config().num_layers) return Add(product, layer.feed_forward.wo, middle.x);
  return Dropped(AddAndNorm(product, layer.feed_forward.wo, middle.x, model_.encoder().final_norm()).normed);
}

at::Tensor T5Training::DecoderLayer(int64_t index, const at::Tensor& x, const T5Rows& targets, const at::Tensor& source,
                                    const T5Rows& sources) const {
  const T5DecoderLayer& layer = model_.decoder()[static_cast<size_t>(index)];
  const at::Tensor qkv = Multiply(layer.attention.qkv, Normed(x, layer.attention.norm));
  const Sum own =
      AddAndNorm(Multiply(layer.attention.o, Attend(qkv, targets)), layer.attention.o, x, layer.source.norm);
  const at::Tensor kv = Multiply(layer.source.kv, source);
  const at::Tensor read = AttendSource(Multiply(layer.source.q, own.normed), kv, targets, sources);
  const Sum middle = AddAndNorm(Multiply(layer.source.o, read), layer.source.o, own.x, layer.feed_forward.norm);
  const at::Tensor product = FeedForwardProduct(layer.feed_forward, middle.normed);
  if (index + 1 < model_.config().num_decoder_layers) return Add(product, layer.feed_forward.wo, middle.x);
  const at::Tensor last = Dropped(AddAndNorm(product, layer.feed_forward.wo, middle.x, model_.decoder_norm()).normed);
  if (!model_.config().scale_outputs) return last;
  return last * (1.0 / std::sqrt(static_cast<double>(model_.config().d_model)));
}

at::Tensor T5Training::Logits(const at::Tensor& x) const { return Multiply(model_.output(), x).to(at::kFloat); }

at::Tensor T5Training::Loss(const at::Tensor& x, c10::ArrayRef<int64_t> next) const {
  const JointLinear& output = model_.output();
  if (fused() && !Adapts(output.modules().front())) return TokenLoss(x, output.linear().weight(), next);
  const at::Tensor targets = at::tensor(next, at::kLong).to(x.device());
  return at::cross_entropy_loss(Logits(x), targets, {}, at::Reduction::Sum);
}

TokenScores T5Training::Score(const at::Tensor& x, c10::ArrayRef<int64_t> next) const {
  const JointLinear& output = model_.output();
  if (fused() && !Adapts(output.modules().front())) return ScoreTokens(x, output.linear().weight(), next);
  return ScoreLogits(Logits(x), at::tensor(next, at::kLong).to(x.device()));
}

}  // namespace tenon::engine
