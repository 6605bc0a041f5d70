#include "worker/engine/train/full_bert.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/normal.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "worker/engine/model/attention.h"
#include "worker/engine/model/bert_layer.h"
#include "worker/engine/model/fused.h"
#include "worker/engine/model/fused_attention.h"
#include "worker/engine/model/torch_util.h"
#include "worker/engine/model/weights.h"
#include "worker/engine/train/new_adapter.h"
#include "worker/engine/train/random.h"

namespace tenon::engine {
namespace {

constexpr char kWords[] = "embeddings.word_embeddings";
constexpr char kPositions[] = "embeddings.position_embeddings";
constexpr char kTypes[] = "embeddings.token_type_embeddings";
constexpr char kEmbeddingNorm[] = "embeddings.LayerNorm";
constexpr char kPooler[] = "pooler.dense";
// The stream that draws a new pooler; a new head's count from 0.
constexpr uint64_t kPoolerStream = 1 << 21;

std::string AttentionNorm(int64_t layer) {
  return absl::StrCat("encoder.layer.", layer, ".attention.output.LayerNorm");
}
std::string OutputNorm(int64_t layer) { return absl::StrCat("encoder.layer.", layer, ".output.LayerNorm"); }

// Takes a base's modules by name.
class ModuleReader {
 public:
  ModuleReader(const Base& base, std::map<std::string, SavedModule>& modules)
      : reader_(base.weights(), TorchDevice(base.device()), at::kFloat), modules_(modules) {}

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
  bool Has(const std::string& name) const { return reader_.Has(name + ".weight"); }

 private:
  WeightReader reader_;
  std::map<std::string, SavedModule>& modules_;
};

absl::Status ReadLayer(ModuleReader& reader, const formats::BertConfig& config, int64_t index) {
  const int64_t hidden = config.hidden_size, wide = config.intermediate_size;
  const LayerNames names(index);
  for (const std::string* name : {&names.query, &names.key, &names.value, &names.attention_output}) {
    RETURN_IF_ERROR(reader.Linear(*name, hidden, hidden));
  }
  RETURN_IF_ERROR(reader.Norm(AttentionNorm(index), hidden));
  RETURN_IF_ERROR(reader.Linear(names.intermediate, hidden, wide));
  RETURN_IF_ERROR(reader.Linear(names.output, wide, hidden));
  return reader.Norm(OutputNorm(index), hidden);
}

SavedModule NewPooler(const formats::BertConfig& config, uint64_t seed, const at::Device& device) {
  const int64_t hidden = config.hidden_size;
  at::Tensor weight = at::empty({hidden, hidden}, at::kFloat);
  weight.normal_(0, config.initializer_range,
                 at::detail::createCPUGenerator(StreamKey(seed, Stream::kInit, {kPoolerStream})));
  return {weight.to(device), at::zeros({hidden}, at::TensorOptions().dtype(at::kFloat).device(device))};
}

at::Tensor Product(const SavedModule& linear, const at::Tensor& x) { return at::linear(x, linear.weight, linear.bias); }

at::Tensor Dropped(const ForwardHooks& hooks, const at::Tensor& x) {
  return hooks.dropout ? hooks.dropout(x, hooks.hidden_dropout) : x;
}

}  // namespace

absl::StatusOr<AdapterTensors> CopyBert(const Base& base, const formats::TenonConfig& config, uint64_t seed) {
  const at::NoGradGuard no_grad;
  const formats::BertConfig& bert = base.config();
  const int64_t hidden = bert.hidden_size;
  const at::Device device = TorchDevice(base.device());
  AdapterTensors model = NewHead(hidden, bert.initializer_range, seed, device, config);
  ModuleReader reader(base, model.modules);
  RETURN_IF_ERROR(reader.Table(kWords, bert.vocab_size, hidden));
  RETURN_IF_ERROR(reader.Table(kPositions, bert.max_position_embeddings, hidden));
  RETURN_IF_ERROR(reader.Table(kTypes, bert.type_vocab_size, hidden));
  RETURN_IF_ERROR(reader.Norm(kEmbeddingNorm, hidden));
  for (int64_t i = 0; i < bert.num_hidden_layers; ++i) RETURN_IF_ERROR(ReadLayer(reader, bert, i));
  if (reader.Has(kPooler)) {
    RETURN_IF_ERROR(reader.Linear(kPooler, hidden, hidden));
  } else {
    model.modules[kPooler] = NewPooler(bert, seed, device);
  }
  base.weights().DropPages();
  return model;
}

FullBert::FullBert(const formats::BertConfig& config, const std::map<std::string, SavedModule>& modules)
    : config_(config),
      activation_(ParseActivation(config.hidden_act)),
      words_(modules.at(kWords).weight),
      positions_(modules.at(kPositions).weight),
      types_(modules.at(kTypes).weight),
      embedding_norm_(modules.at(kEmbeddingNorm)),
      pooler_(modules.at(kPooler)) {
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const LayerNames names(i);
    layers_.push_back({.query = modules.at(names.query),
                       .key = modules.at(names.key),
                       .value = modules.at(names.value),
                       .attention_output = modules.at(names.attention_output),
                       .attention_norm = modules.at(AttentionNorm(i)),
                       .intermediate = modules.at(names.intermediate),
                       .output = modules.at(names.output),
                       .output_norm = modules.at(OutputNorm(i))});
  }
}

at::Tensor FullBert::Normalized(const SavedModule& norm, const at::Tensor& x) const {
  return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, config_.layer_norm_eps);
}

at::Tensor FullBert::Embed(const PackedBatch& batch, const ForwardHooks& hooks) const {
  // transformers' table gives its row for padding no gradient.
  const at::Tensor words = at::embedding(words_, batch.ids, config_.pad_token_id);
  const at::Tensor x = words + types_.narrow(0, 0, 1) + at::embedding(positions_, batch.positions);
  return Dropped(hooks, Normalized(embedding_norm_, x));
}

at::Tensor FullBert::Attend(const Weights& layer, const at::Tensor& x, const PackedBatch& batch,
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

at::Tensor FullBert::Layer(int64_t index, const at::Tensor& x, const PackedBatch& batch, const ForwardHooks& hooks,
                           Lines lines) const {
  const Weights& layer = layers_[static_cast<size_t>(index)];
  const auto pick = [&](const at::Tensor& states) {
    return lines == Lines::kRows ? FirstTokens(states, batch) : states;
  };
  const at::Tensor attended = Product(layer.attention_output, pick(Attend(layer, x, batch, hooks)));
  const at::Tensor middle = Normalized(layer.attention_norm, Dropped(hooks, attended) + pick(x));
  const at::Tensor wide = Activate(Product(layer.intermediate, middle), activation_);
  return Normalized(layer.output_norm, Dropped(hooks, Product(layer.output, wide)) + middle);
}

at::Tensor FullBert::Pool(const at::Tensor& first_tokens, const ForwardHooks&) const {
  return at::tanh(Product(pooler_, first_tokens));
}

}  // namespace tenon::engine
