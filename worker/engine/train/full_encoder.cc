#include "worker/engine/train/full_encoder.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/normal.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/encoder_family.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "worker/engine/model/attention.h"
#include "worker/engine/model/fused.h"
#include "worker/engine/model/fused_attention.h"
#include "worker/engine/model/torch_util.h"
#include "worker/engine/model/weights.h"
#include "worker/engine/train/new_adapter.h"
#include "worker/engine/train/random.h"

namespace tenon::engine {
namespace {

// The stream that draws a new dense layer; a new classifier's counts from 0.
constexpr uint64_t kDenseStream = 1 << 21;

// Takes a base's modules by name.
class ModuleReader {
 public:
  ModuleReader(const Base& base, std::map<std::string, SavedModule>& modules)
      : reader_(base.weights(), TorchDevice(base.device()), at::kFloat, PrefixIn(base.weights(), base.config())),
        modules_(modules) {}

  absl::Status Table(const std::string& name, int64_t rows, int64_t columns) {
    ASSIGN_OR_RETURN(modules_[name].weight, reader_.Take(name + ".weight", {rows, columns}));
    return absl::OkStatus();
  }
  absl::Status Linear(const std::string& name, int64_t in, int64_t out) {
    RETURN_IF_ERROR(Table(name, out, in));
    ASSIGN_OR_RETURN(modules_[name].bias, reader_.Take(name + ".bias", {out}));
    return absl::OkStatus();
  }
  absl::Status Norm(const std::string& name, int64_t size) {
    ASSIGN_OR_RETURN(modules_[name].weight, reader_.Take(name + ".weight", {size}));
    ASSIGN_OR_RETURN(modules_[name].bias, reader_.Take(name + ".bias", {size}));
    return absl::OkStatus();
  }
  // A head's layer, which has no prefix.
  absl::Status HeadLinear(const std::string& name, int64_t in, int64_t out) {
    ASSIGN_OR_RETURN(modules_[name].weight, reader_.TakeHead(name + ".weight", {out, in}, at::kFloat));
    ASSIGN_OR_RETURN(modules_[name].bias, reader_.TakeHead(name + ".bias", {out}, at::kFloat));
    return absl::OkStatus();
  }
  bool Has(const std::string& name) const { return reader_.Has(name + ".weight"); }

 private:
  WeightReader reader_;
  std::map<std::string, SavedModule>& modules_;
};

absl::Status ReadLayer(ModuleReader& reader, const formats::EncoderConfig& config, int64_t index) {
  const int64_t hidden = config.hidden_size, wide = config.intermediate_size;
  const formats::LayerNames names = config.family->Layer(index);
  for (const std::string* name : {&names.query, &names.key, &names.value, &names.attention_output}) {
    RETURN_IF_ERROR(reader.Linear(*name, hidden, hidden));
  }
  RETURN_IF_ERROR(reader.Norm(names.attention_norm, hidden));
  RETURN_IF_ERROR(reader.Linear(names.intermediate, hidden, wide));
  RETURN_IF_ERROR(reader.Linear(names.output, wide, hidden));
  return reader.Norm(names.output_norm, hidden);
}

SavedModule NewDense(const formats::EncoderConfig& config, uint64_t seed, const at::Device& device) {
  const int64_t hidden = config.hidden_size;
  at::Tensor weight = at::empty({hidden, hidden}, at::kFloat);
  weight.normal_(0, config.initializer_range,
                 at::detail::createCPUGenerator(StreamKey(seed, Stream::kInit, {kDenseStream})));
  return {weight.to(device), at::zeros({hidden}, at::TensorOptions().dtype(at::kFloat).device(device))};
}

at::Tensor Product(const SavedModule& linear, const at::Tensor& x) { return at::linear(x, linear.weight, linear.bias); }

at::Tensor Dropped(const ForwardHooks& hooks, const at::Tensor& x) {
  return hooks.dropout ? hooks.dropout(x, hooks.hidden_dropout) : x;
}

}  // namespace

absl::StatusOr<AdapterTensors> CopyEncoder(const Base& base, const formats::TenonConfig& config, uint64_t seed) {
  const at::NoGradGuard no_grad;
  const formats::EncoderConfig& encoder = base.config();
  const formats::EncoderFamily& family = *encoder.family;
  const int64_t hidden = encoder.hidden_size;
  const at::Device device = TorchDevice(base.device());
  AdapterTensors model = NewHead(hidden, encoder.initializer_range, seed, device, config);
  model.family = encoder.family;
  ModuleReader reader(base, model.modules);
  RETURN_IF_ERROR(reader.Table(family.embeddings.words, encoder.vocab_size, hidden));
  RETURN_IF_ERROR(reader.Table(family.embeddings.positions, encoder.max_position_embeddings, hidden));
  if (!family.embeddings.types.empty()) {
    RETURN_IF_ERROR(reader.Table(family.embeddings.types, encoder.type_vocab_size, hidden));
  }
  RETURN_IF_ERROR(reader.Norm(family.embeddings.norm, hidden));
  for (int64_t i = 0; i < encoder.num_hidden_layers; ++i) RETURN_IF_ERROR(ReadLayer(reader, encoder, i));
  const std::string& dense = family.head.dense;
  if (formats::HeadOfTask(config.task) != formats::HeadKind::kSequence) {
    // Its head reads the states as they are.
  } else if (family.head.dense_in_encoder && reader.Has(dense)) {
    RETURN_IF_ERROR(reader.Linear(dense, hidden, hidden));
  } else if (!family.head.dense_in_encoder && !encoder.labels.empty() &&
             encoder.head_kind == formats::HeadKind::kSequence) {
    RETURN_IF_ERROR(reader.HeadLinear(dense, hidden, hidden));
  } else {
    model.modules[dense] = NewDense(encoder, seed, device);
  }
  base.weights().DropPages();
  return model;
}

FullEncoder::FullEncoder(const formats::EncoderConfig& config, const std::map<std::string, SavedModule>& modules)
    : config_(config),
      activation_(ParseActivation(config.hidden_act)),
      words_(modules.at(config.family->embeddings.words).weight),
      positions_(modules.at(config.family->embeddings.positions).weight),
      embedding_norm_(modules.at(config.family->embeddings.norm)) {
  if (const auto dense = modules.find(config.family->head.dense); dense != modules.end()) dense_ = dense->second;
  if (const std::string& types = config.family->embeddings.types; !types.empty()) types_ = modules.at(types).weight;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const formats::LayerNames names = config.family->Layer(i);
    layers_.push_back({.query = modules.at(names.query),
                       .key = modules.at(names.key),
                       .value = modules.at(names.value),
                       .attention_output = modules.at(names.attention_output),
                       .attention_norm = modules.at(names.attention_norm),
                       .intermediate = modules.at(names.intermediate),
                       .output = modules.at(names.output),
                       .output_norm = modules.at(names.output_norm)});
  }
}

at::Tensor FullEncoder::Normalized(const SavedModule& norm, const at::Tensor& x) const {
  return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, config_.layer_norm_eps);
}

at::Tensor FullEncoder::Embed(const PackedBatch& batch, const ForwardHooks& hooks) const {
  // transformers' table gives its row for padding no gradient.
  const at::Tensor words = at::embedding(words_, batch.ids, config_.pad_token_id);
  const at::Tensor typed = !types_.defined()       ? words
                           : batch.types.defined() ? words + at::embedding(types_, batch.types)
                                                   : words + types_.narrow(0, 0, 1);
  // Rows of the table before a text's first are never read, and so get no gradient.
  const at::Tensor positions =
      config_.position_offset == 0 ? positions_ : positions_.narrow(0, config_.position_offset, config_.max_tokens());
  return Dropped(hooks, Normalized(embedding_norm_, typed + at::embedding(positions, batch.positions)));
}

at::Tensor FullEncoder::Attend(const Weights& layer, const at::Tensor& x, const PackedBatch& batch,
                               const ForwardHooks& hooks) const {
  const at::Tensor qkv = at::linear(x, at::cat({layer.query.weight, layer.key.weight, layer.value.weight}),
                                    at::cat({layer.query.bias, layer.key.bias, layer.value.bias}));
  if (hooks.fused != nullptr) {
    return RaggedAttention(qkv, {}, batch.offsets, config_.num_attention_heads,
                           hooks.fused->dropout(hooks.attention_dropout));
  }
  const std::vector<at::Tensor> parts = qkv.split(config_.hidden_size, 1);
  return SelfAttention({parts[0], parts[1], parts[2]}, batch, config_.num_attention_heads, hooks);
}

at::Tensor FullEncoder::Layer(int64_t index, const at::Tensor& x, const PackedBatch& batch, const ForwardHooks& hooks,
                              Lines lines) const {
  const Weights& layer = layers_[static_cast<size_t>(index)];
  const at::Tensor context = Picked(Attend(layer, x, batch, hooks), batch, lines);
  const at::Tensor product = Product(layer.attention_output, context);
  const at::Tensor attended = config_.family->drops_attention_output ? Dropped(hooks, product) : product;
  const at::Tensor middle = Normalized(layer.attention_norm, attended + Picked(x, batch, lines));
  const at::Tensor wide = Activate(Product(layer.intermediate, middle), activation_);
  return Normalized(layer.output_norm, Dropped(hooks, Product(layer.output, wide)) + middle);
}

at::Tensor FullEncoder::Pool(const at::Tensor& first_tokens, const ForwardHooks&) const {
  const at::Tensor x = Product(dense_, first_tokens);
  return config_.family->head.relu ? at::relu(x) : at::tanh(x);
}

}  // namespace tenon::engine
