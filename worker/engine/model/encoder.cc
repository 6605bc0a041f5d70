#include "worker/engine/model/encoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/engine/model/activation.h"
#include "worker/engine/model/attention.h"
#include "worker/engine/model/frozen_layer.h"
#include "worker/engine/model/packed_linear.h"
#include "worker/engine/model/row_inference.h"
#include "worker/engine/model/torch_util.h"
#include "worker/engine/model/training_layer.h"
#include "worker/engine/model/weights.h"

namespace tenon::engine {
namespace {

constexpr int64_t kPairTypes = 2;

at::Tensor Normalized(const at::Tensor& x, const FrozenNorm& norm) {
  return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.shift, norm.eps);
}
int64_t NormBytes(const FrozenNorm& norm) { return TensorBytes(norm.weight) + TensorBytes(norm.shift); }

FrozenNorm Wide(const FrozenNorm& norm) { return {norm.weight.to(at::kFloat), norm.shift.to(at::kFloat), norm.eps}; }
// norm(x + residual) in x's memory, in fp32.
at::Tensor NormalizedInPlace(const at::Tensor& x, const at::Tensor& residual, const FrozenNorm& norm) {
  AddNorm(x, residual, norm.weight, norm.shift, norm.eps);
  return x;
}

class TransformerEncoder final : public Encoder {
 public:
  TransformerEncoder(const formats::EncoderConfig& config, at::Device device, at::ScalarType type)
      : config_(config),
        family_(*config.family),
        activation_(ParseActivation(config.hidden_act)),
        device_(device),
        type_(type) {}

  // Its word embeddings, or those of a larger network; then the rest.
  absl::Status ReadWords(WeightReader& reader);
  void ShareWords(at::Tensor words) { words_ = std::move(words); }
  absl::Status ReadWeights(WeightReader& reader);
  void PrepareInference(const RunAlone& run_alone);

  at::Tensor Embed(const PackedBatch& batch, const ForwardHooks& hooks) const override;
  at::Tensor Layer(int64_t index, const at::Tensor& x, const PackedBatch& batch, const ForwardHooks& hooks,
                   Lines lines) const override;
  at::Tensor Pool(const at::Tensor& first_tokens, const ForwardHooks& hooks) const override;
  at::Tensor Classify(const at::Tensor& pooled) const override { return classifier_(pooled.to(at::kFloat)); }

  bool takes_head() const override {
    return !family_.head.model_class.empty() && (dense_.defined() || !family_.head.dense_in_encoder);
  }
  bool has_classifier() const override { return classifier_.defined(); }
  const Linear& projection() const override { return projection_; }
  const formats::EncoderConfig& config() const override { return config_; }
  at::ScalarType dtype() const override { return type_; }
  at::Device device() const override { return device_; }
  const std::map<std::string, std::pair<int64_t, int64_t>>& linear_layers() const override { return linear_layers_; }
  at::Tensor CopyWords(const std::vector<int64_t>& ids) const override {
    return words_.index_select(0, at::tensor(ids, at::kLong).to(device_)).to(at::kFloat);
  }
  std::pair<at::Tensor, at::Tensor> CopyLinear(const std::string& module) const override;
  int64_t ResidentBytes() const override;
  int64_t RoundTokens(int64_t tokens) const override;
  bool by_rows() const override { return panels_.has_value(); }
  std::optional<PanelFormat> panels() const override { return panels_; }
  at::ScalarType inference_dtype() const override { return by_rows() ? at::kFloat : type_; }

 private:
  // Embeddings of the tokens' words, [T, hidden].
  at::Tensor Words(const PackedBatch& batch) const;
  // Where `positions_` has each token's, [T] int64.
  at::Tensor Places(const PackedBatch& batch) const;
  std::optional<PanelFormat> PreferFused(KernelChoice& choice) const;
  absl::Status ReadEmbeddings(WeightReader& reader);
  absl::Status ReadLayer(WeightReader& reader, int64_t index);
  absl::Status ReadPooler(WeightReader& reader);
  absl::Status ReadHead(WeightReader& reader);
  absl::Status ReadProjection(WeightReader& reader);
  // Layer() with Lines::kRows in inference; the second by our own kernels.
  at::Tensor LayerOfFirstTokens(const FrozenLayer& layer, const at::Tensor& x, const PackedBatch& batch,
                                const ForwardHooks& hooks) const;
  at::Tensor FusedLayerOfFirstTokens(const FrozenLayer& layer, const at::Tensor& x, const PackedBatch& batch,
                                     const ForwardHooks& hooks) const;
  // What a layer does behind attention, on any lines of it; `x` is the layer's input.
  at::Tensor BehindAttention(const FrozenLayer& layer, const at::Tensor& context, const at::Tensor& x,
                             const ForwardHooks& hooks, Lines lines) const;
  absl::StatusOr<Linear> ReadLinear(WeightReader& reader, const std::string& name, int64_t in, int64_t out);
  absl::StatusOr<FrozenNorm> ReadNorm(WeightReader& reader, const std::string& name);

  const formats::EncoderConfig config_;
  const formats::EncoderFamily& family_;
  const Activation activation_;
  const at::Device device_;
  const at::ScalarType type_;
  at::Tensor words_;  // [vocab, hidden]
  // [positions, hidden] from a text's first on, the embedding of token type 0 added; below them the same of type 1.
  at::Tensor positions_;
  FrozenNorm embedding_norm_, wide_embedding_norm_;
  std::vector<FrozenLayer> layers_;
  // Of a head: below the activation, and its output layer. Where they are the base's own.
  Linear dense_, classifier_;
  Linear projection_;
  std::optional<PanelFormat> panels_;  // inference by our own kernels, states in fp32
  std::map<std::string, std::pair<int64_t, int64_t>> linear_layers_;
};

bool IsHooked(const ForwardHooks& hooks, const std::string& module) {
  return hooks.linear && (!hooks.adapts || hooks.adapts(module));
}

at::Tensor Hooked(const ForwardHooks& hooks, const std::string& module, const at::Tensor& x, const at::Tensor& y,
                  Lines lines) {
  return IsHooked(hooks, module) ? hooks.linear(module, x, y, lines) : y;
}

// A linear layer, what adapters add to it, and the activation behind both.
at::Tensor Run(const Linear& linear, const std::string& module, const at::Tensor& x, const ForwardHooks& hooks,
               Lines lines, Activation activation = Activation::kNone) {
  if (!hooks.inference) return Activate(Hooked(hooks, module, x, linear(x), lines), activation);
  if (!IsHooked(hooks, module)) return linear.Fast(x, activation);
  return Activate(hooks.linear(module, x, linear.Fast(x, Activation::kNone), lines), activation);
}

at::Tensor Prompted(const ForwardHooks& hooks, const at::Tensor& words, const PackedBatch& batch) {
  return hooks.prompts ? hooks.prompts(words, batch) : words;
}

at::Tensor Dropped(const ForwardHooks& hooks, const at::Tensor& x) {
  return hooks.dropout ? hooks.dropout(x, hooks.hidden_dropout) : x;
}

at::Tensor WithBlock(const ForwardHooks& hooks, const std::string& module, const at::Tensor& h,
                     const at::Tensor& residual, const FrozenNorm& norm, Lines lines) {
  return hooks.blocks && hooks.has_block(module) ? hooks.blocks(module, h, residual, norm, lines) : h;
}

// a + b; in inference in a's memory, which nobody else reads.
at::Tensor Sum(const at::Tensor& a, const at::Tensor& b, const ForwardHooks& hooks) {
  return hooks.inference ? a.add_(b) : a + b;
}

absl::StatusOr<Linear> TransformerEncoder::ReadLinear(WeightReader& reader, const std::string& name, int64_t in,
                                                      int64_t out) {
  ASSIGN_OR_RETURN(at::Tensor weight, reader.Take(name + ".weight", {out, in}));
  ASSIGN_OR_RETURN(at::Tensor bias, reader.Take(name + ".bias", {out}));
  linear_layers_[name] = {out, in};
  return Linear(std::move(weight), std::move(bias));
}

absl::StatusOr<FrozenNorm> TransformerEncoder::ReadNorm(WeightReader& reader, const std::string& name) {
  FrozenNorm norm;
  norm.eps = config_.layer_norm_eps;
  ASSIGN_OR_RETURN(norm.weight, reader.Take(name + ".weight", {config_.hidden_size}));
  ASSIGN_OR_RETURN(norm.shift, reader.Take(name + ".bias", {config_.hidden_size}));
  return norm;
}

absl::Status TransformerEncoder::ReadLayer(WeightReader& reader, int64_t index) {
  const int64_t hidden = config_.hidden_size;
  FrozenLayer layer{.names = family_.Layer(index), .drops_attention_output = family_.drops_attention_output};
  std::vector<at::Tensor> weights, biases;
  for (const std::string* name : {&layer.names.query, &layer.names.key, &layer.names.value}) {
    ASSIGN_OR_RETURN(at::Tensor weight, reader.Take(*name + ".weight", {hidden, hidden}));
    ASSIGN_OR_RETURN(at::Tensor bias, reader.Take(*name + ".bias", {hidden}));
    weights.push_back(std::move(weight));
    biases.push_back(std::move(bias));
    linear_layers_[*name] = {hidden, hidden};
  }
  layer.qkv = Linear(at::cat(weights), at::cat(biases));
  ASSIGN_OR_RETURN(layer.attention_output, ReadLinear(reader, layer.names.attention_output, hidden, hidden));
  ASSIGN_OR_RETURN(layer.intermediate, ReadLinear(reader, layer.names.intermediate, hidden, config_.intermediate_size));
  ASSIGN_OR_RETURN(layer.output, ReadLinear(reader, layer.names.output, config_.intermediate_size, hidden));
  ASSIGN_OR_RETURN(layer.attention_norm, ReadNorm(reader, layer.names.attention_norm));
  ASSIGN_OR_RETURN(layer.output_norm, ReadNorm(reader, layer.names.output_norm));
  layers_.push_back(std::move(layer));
  return absl::OkStatus();
}

absl::Status TransformerEncoder::ReadWords(WeightReader& reader) {
  ASSIGN_OR_RETURN(words_,
                   reader.Take(family_.embeddings.words + ".weight", {config_.vocab_size, config_.hidden_size}));
  return absl::OkStatus();
}

absl::Status TransformerEncoder::ReadEmbeddings(WeightReader& reader) {
  const int64_t hidden = config_.hidden_size;
  const formats::EmbeddingNames& names = family_.embeddings;
  ASSIGN_OR_RETURN(positions_, reader.Take(names.positions + ".weight", {config_.max_position_embeddings, hidden}));
  at::Tensor types;
  if (!names.types.empty()) {
    ASSIGN_OR_RETURN(types, reader.Take(names.types + ".weight", {config_.type_vocab_size, hidden}));
  }
  if (config_.position_offset > 0) {
    positions_ = positions_.narrow(0, config_.position_offset, config_.max_tokens()).contiguous();
  }
  if (types.defined()) {
    std::vector<at::Tensor> of_types;
    for (int64_t type = 0; type < std::min(config_.type_vocab_size, kPairTypes); ++type) {
      of_types.push_back(positions_ + types.narrow(0, type, 1));
    }
    positions_ = at::cat(of_types);
  }
  ASSIGN_OR_RETURN(embedding_norm_, ReadNorm(reader, names.norm));
  return absl::OkStatus();
}

// An adapter of the plain model may target a pooler that no classifier reads: then its name alone is kept.
absl::Status TransformerEncoder::ReadPooler(WeightReader& reader) {
  if (family_.pooler.empty() || !reader.Has(family_.pooler + ".weight")) return absl::OkStatus();
  ASSIGN_OR_RETURN(Linear pooler, ReadLinear(reader, family_.pooler, config_.hidden_size, config_.hidden_size));
  if (family_.head.dense_in_encoder) dense_ = std::move(pooler);
  return absl::OkStatus();
}

absl::Status TransformerEncoder::ReadHead(WeightReader& reader) {
  if (config_.labels.empty()) return absl::OkStatus();
  const formats::EncoderHead& head = family_.head;
  const int64_t hidden = config_.hidden_size, labels = static_cast<int64_t>(config_.labels.size());
  // Its output layer is small, and logits gain from fp32.
  const std::string output = formats::HeadModules(family_, config_.head_kind).front().name;
  ASSIGN_OR_RETURN(at::Tensor weight, reader.TakeHead(output + ".weight", {labels, hidden}, at::kFloat));
  ASSIGN_OR_RETURN(at::Tensor bias, reader.TakeHead(output + ".bias", {labels}, at::kFloat));
  classifier_ = Linear(std::move(weight), std::move(bias));
  if (config_.head_kind != formats::HeadKind::kSequence) return absl::OkStatus();
  if (!head.dense_in_encoder) {
    ASSIGN_OR_RETURN(at::Tensor dense, reader.TakeHead(head.dense + ".weight", {hidden, hidden}, type_));
    ASSIGN_OR_RETURN(at::Tensor dense_bias, reader.TakeHead(head.dense + ".bias", {hidden}, type_));
    dense_ = Linear(std::move(dense), std::move(dense_bias));
  }
  if (!dense_.defined()) {
    return TenonError(Reason::kBaseInvalid, "the base has a classifier but no pooler", head.dense + ".weight");
  }
  return absl::OkStatus();
}

absl::Status TransformerEncoder::ReadProjection(WeightReader& reader) {
  const std::string& name = config_.projection;
  const int64_t out = config_.projection_dim;
  if (name.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(at::Tensor weight, reader.TakeHead(name + ".weight", {out, config_.hidden_size}, at::kFloat));
  ASSIGN_OR_RETURN(at::Tensor bias, reader.TakeHead(name + ".bias", {out}, at::kFloat));
  projection_ = Linear(std::move(weight), std::move(bias));
  return absl::OkStatus();
}

absl::Status TransformerEncoder::ReadWeights(WeightReader& reader) {
  RETURN_IF_ERROR(ReadEmbeddings(reader));
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) RETURN_IF_ERROR(ReadLayer(reader, i));
  RETURN_IF_ERROR(ReadPooler(reader));
  RETURN_IF_ERROR(ReadHead(reader));
  return ReadProjection(reader);
}

// The panels' format for inference by our own kernels, or nothing where they are slower.
std::optional<PanelFormat> TransformerEncoder::PreferFused(KernelChoice& choice) const {
  const int64_t hidden = config_.hidden_size;
  if (layers_.empty() || hidden % PanelWeight::kWidth != 0 || !CanAttend(hidden / config_.num_attention_heads)) {
    return std::nullopt;
  }
  const FrozenLayer& layer = layers_[0];
  return choice.PreferPanels({layer.qkv.Measured(Activation::kNone), layer.attention_output.Measured(Activation::kNone),
                              layer.intermediate.Measured(activation_), layer.output.Measured(Activation::kNone)});
}

void TransformerEncoder::PrepareInference(const RunAlone& run_alone) {
  KernelChoice choice(run_alone);
  panels_ = PreferFused(choice);
  if (panels_.has_value()) {
    wide_embedding_norm_ = Wide(embedding_norm_);
    for (FrozenLayer& layer : layers_) {
      for (Linear* linear : {&layer.qkv, &layer.attention_output, &layer.intermediate, &layer.output}) {
        linear->PreparePanels(*panels_);
      }
      layer.wide_attention_norm = Wide(layer.attention_norm);
      layer.wide_output_norm = Wide(layer.output_norm);
    }
    if (dense_.defined()) dense_.PreparePanels(*panels_);
    return;
  }
  for (FrozenLayer& layer : layers_) {
    layer.qkv.Prepare(choice, Activation::kNone);
    layer.attention_output.Prepare(choice, Activation::kNone);
    layer.intermediate.Prepare(choice, activation_);
    layer.output.Prepare(choice, Activation::kNone);
  }
}

int64_t TransformerEncoder::RoundTokens(int64_t tokens) const {
  const bool packed = !layers_.empty() && (layers_[0].qkv.packed() || layers_[0].attention_output.packed() ||
                                           layers_[0].intermediate.packed() || layers_[0].output.packed());
  if (!packed) return 1;
  return tokens <= 64 ? 8 : tokens <= 512 ? 32 : 128;
}

at::Tensor TransformerEncoder::Words(const PackedBatch& batch) const {
  const at::Tensor words = at::embedding(words_, batch.ids);
  return config_.scales_words ? words * std::sqrt(static_cast<double>(config_.hidden_size)) : words;
}

at::Tensor TransformerEncoder::Places(const PackedBatch& batch) const {
  if (!batch.types.defined() || family_.embeddings.types.empty()) return batch.positions;
  return batch.positions + batch.types * config_.max_tokens();
}

at::Tensor TransformerEncoder::Embed(const PackedBatch& batch, const ForwardHooks& hooks) const {
  if (hooks.inference && by_rows()) {
    const at::Tensor x = Prompted(hooks, Words(batch).to(at::kFloat), batch);
    return NormalizedInPlace(x, at::embedding(positions_, Places(batch)).to(at::kFloat), wide_embedding_norm_);
  }
  const at::Tensor words = Prompted(hooks, Words(batch), batch);
  const at::Tensor x = words + at::embedding(positions_, Places(batch));
  return Dropped(hooks, Normalized(x, embedding_norm_));
}

at::Tensor TransformerEncoder::Layer(int64_t index, const at::Tensor& x, const PackedBatch& batch,
                                     const ForwardHooks& hooks, Lines lines) const {
  const FrozenLayer& layer = layers_[static_cast<size_t>(index)];
  if (hooks.fused != nullptr) {
    return TrainingLayer(layer, x, batch, config_.num_attention_heads, activation_, hooks, lines);
  }
  if (hooks.inference && lines == Lines::kRows) return LayerOfFirstTokens(layer, x, batch, hooks);
  const at::Tensor fused = hooks.inference ? layer.qkv.Fast(x, Activation::kNone) : layer.qkv(x);
  const std::vector<at::Tensor> qkv = fused.split(config_.hidden_size, 1);
  const at::Tensor q = Hooked(hooks, layer.names.query, x, qkv[0], Lines::kTokens);
  const at::Tensor k = Hooked(hooks, layer.names.key, x, qkv[1], Lines::kTokens);
  const at::Tensor v = Hooked(hooks, layer.names.value, x, qkv[2], Lines::kTokens);
  const at::Tensor context = hooks.inference && by_rows()
                                 ? RowAttention({q, k, v}, batch, config_.num_attention_heads)
                                 : SelfAttention({q, k, v}, batch, config_.num_attention_heads, hooks);
  return BehindAttention(layer, Picked(context, batch, lines), Picked(x, batch, lines), hooks, lines);
}

at::Tensor TransformerEncoder::LayerOfFirstTokens(const FrozenLayer& layer, const at::Tensor& x,
                                                  const PackedBatch& batch, const ForwardHooks& hooks) const {
  if (by_rows()) return FusedLayerOfFirstTokens(layer, x, batch, hooks);
  // Queries of all tokens come with keys and values: apart, they would need packed weights of their own.
  const std::vector<at::Tensor> qkv = layer.qkv.Fast(x, Activation::kNone).split(config_.hidden_size, 1);
  const at::Tensor first = FirstTokens(x, batch);
  const at::Tensor q = Hooked(hooks, layer.names.query, first, FirstTokens(qkv[0], batch), Lines::kRows);
  const at::Tensor k = Hooked(hooks, layer.names.key, x, qkv[1], Lines::kTokens);
  const at::Tensor v = Hooked(hooks, layer.names.value, x, qkv[2], Lines::kTokens);
  const at::Tensor context = FirstTokenAttention({q, k, v}, batch, config_.num_attention_heads);
  return BehindAttention(layer, context, first, hooks, Lines::kRows);
}

at::Tensor TransformerEncoder::FusedLayerOfFirstTokens(const FrozenLayer& layer, const at::Tensor& x,
                                                       const PackedBatch& batch, const ForwardHooks& hooks) const {
  const int64_t hidden = config_.hidden_size;
  const at::Tensor first = FirstTokens(x, batch);
  const std::vector<at::Tensor> kv = layer.qkv.FastPart(x, hidden, 2 * hidden).split(hidden, 1);
  const at::Tensor q = Hooked(hooks, layer.names.query, first, layer.qkv.FastPart(first, 0, hidden), Lines::kRows);
  const at::Tensor k = Hooked(hooks, layer.names.key, x, kv[0], Lines::kTokens);
  const at::Tensor v = Hooked(hooks, layer.names.value, x, kv[1], Lines::kTokens);
  const at::Tensor context = FirstTokenRowAttention({q, k, v}, batch, config_.num_attention_heads);
  return BehindAttention(layer, context, first, hooks, Lines::kRows);
}

at::Tensor TransformerEncoder::BehindAttention(const FrozenLayer& layer, const at::Tensor& context, const at::Tensor& x,
                                               const ForwardHooks& hooks, Lines lines) const {
  const bool fused = hooks.inference && by_rows();
  // Behind a sub-layer's last product and dropout: an adapter's block, residual and norm.
  const auto finish = [&](const std::string& module, const at::Tensor& product, const at::Tensor& residual,
                          const FrozenNorm& norm) {
    const at::Tensor h = WithBlock(hooks, module, product, residual, norm, lines);
    return fused ? NormalizedInPlace(h, residual, norm) : Normalized(Sum(h, residual, hooks), norm);
  };
  const formats::LayerNames& names = layer.names;
  const at::Tensor attended = Run(layer.attention_output, names.attention_output, context, hooks, lines);
  const at::Tensor middle =
      finish(names.attention_output, layer.drops_attention_output ? Dropped(hooks, attended) : attended, x,
             fused ? layer.wide_attention_norm : layer.attention_norm);
  const at::Tensor wide = Run(layer.intermediate, names.intermediate, middle, hooks, lines, activation_);
  return finish(names.output, Dropped(hooks, Run(layer.output, names.output, wide, hooks, lines)), middle,
                fused ? layer.wide_output_norm : layer.output_norm);
}

at::Tensor TransformerEncoder::Pool(const at::Tensor& first_tokens, const ForwardHooks& hooks) const {
  const std::string& module = family_.head.dense;
  const at::Tensor x = dense_.defined()
                           ? Run(dense_, module, first_tokens, hooks, Lines::kRows)
                           : Hooked(hooks, module, first_tokens, at::zeros_like(first_tokens), Lines::kRows);
  return family_.head.relu ? at::relu(x) : at::tanh(x);
}

std::pair<at::Tensor, at::Tensor> TransformerEncoder::CopyLinear(const std::string& module) const {
  if (dense_.defined() && module == family_.head.dense) return dense_.Copy(0, dense_.out());
  const int64_t hidden = config_.hidden_size;
  for (const FrozenLayer& layer : layers_) {
    if (module == layer.names.query) return layer.qkv.Copy(0, hidden);
    if (module == layer.names.key) return layer.qkv.Copy(hidden, hidden);
    if (module == layer.names.value) return layer.qkv.Copy(2 * hidden, hidden);
    if (module == layer.names.attention_output) return layer.attention_output.Copy(0, hidden);
    if (module == layer.names.intermediate) return layer.intermediate.Copy(0, layer.intermediate.out());
    if (module == layer.names.output) return layer.output.Copy(0, hidden);
  }
  return {};
}

int64_t TransformerEncoder::ResidentBytes() const {
  int64_t bytes = TensorBytes(words_) + TensorBytes(positions_) + NormBytes(embedding_norm_);
  for (const FrozenLayer& layer : layers_) {
    bytes += layer.qkv.Bytes() + layer.attention_output.Bytes() + layer.intermediate.Bytes() + layer.output.Bytes() +
             NormBytes(layer.attention_norm) + NormBytes(layer.output_norm);
  }
  for (const Linear* linear : {&dense_, &classifier_, &projection_}) {
    if (linear->defined()) bytes += linear->Bytes();
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Encoder>> Encoder::Load(const formats::EncoderConfig& config,
                                                             const formats::Safetensors& weights, const Device& device,
                                                             Precision precision, bool prepare_inference,
                                                             const RunAlone& run_alone) {
  return Guarded([&]() -> absl::StatusOr<std::shared_ptr<const Encoder>> {
    const at::Device where = TorchDevice(device);
    auto encoder = std::make_shared<TransformerEncoder>(config, where, TorchType(precision));
    WeightReader reader(weights, where, TorchType(precision), PrefixIn(weights, config));
    RETURN_IF_ERROR(encoder->ReadWords(reader));
    RETURN_IF_ERROR(encoder->ReadWeights(reader));
    RETURN_IF_ERROR(reader.CheckEncoderTaken(*config.family));
    if (prepare_inference) encoder->PrepareInference(run_alone);
    return std::shared_ptr<const Encoder>(std::move(encoder));
  });
}

absl::StatusOr<std::shared_ptr<const Encoder>> Encoder::Read(const formats::EncoderConfig& config, WeightReader& reader,
                                                             at::Tensor words, at::Device device, at::ScalarType type,
                                                             bool prepare_inference, const RunAlone& run_alone) {
  auto encoder = std::make_shared<TransformerEncoder>(config, device, type);
  encoder->ShareWords(std::move(words));
  RETURN_IF_ERROR(encoder->ReadWeights(reader));
  if (prepare_inference) encoder->PrepareInference(run_alone);
  return std::shared_ptr<const Encoder>(std::move(encoder));
}

}  // namespace tenon::engine
