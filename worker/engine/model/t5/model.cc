#include "worker/engine/model/t5/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "worker/engine/model/attend.h"
#include "worker/engine/model/panel_gemm.h"
#include "worker/engine/model/torch_util.h"

namespace tenon::engine {
namespace {

// What a decoder's products are measured with: a small batch, whose weights are read from memory at every step.
constexpr int64_t kStepLines = 8;

}  // namespace

absl::StatusOr<std::shared_ptr<const T5Model>> T5Model::Load(const formats::T5Config& config,
                                                             const formats::Safetensors& weights, const Device& device,
                                                             Precision precision, bool prepare_inference,
                                                             const RunAlone& run_alone) {
  return Guarded([&]() -> absl::StatusOr<std::shared_ptr<const T5Model>> {
    const at::Device where = TorchDevice(device);
    std::shared_ptr<T5Model> model(new T5Model(config, where, TorchType(precision)));
    T5Reader reader(config, weights, where, TorchType(precision));
    RETURN_IF_ERROR(model->Read(reader));
    if (prepare_inference) model->PrepareInference(run_alone);
    return std::shared_ptr<const T5Model>(std::move(model));
  });
}

absl::Status T5Model::Read(T5Reader& reader) {
  ASSIGN_OR_RETURN(embedding_, reader.Embedding());
  ASSIGN_OR_RETURN(encoder_, T5Encoder::Read(reader, config_));
  for (int64_t i = 0; i < config_.num_decoder_layers; ++i) {
    const std::string block = absl::StrCat("decoder.block.", i, ".layer.");
    T5DecoderLayer layer;
    ASSIGN_OR_RETURN(layer.attention, reader.SelfAttention(block + "0"));
    ASSIGN_OR_RETURN(layer.source, reader.CrossAttention(block + "1"));
    ASSIGN_OR_RETURN(layer.feed_forward, reader.FeedForwardBlock(block + "2"));
    decoder_.push_back(std::move(layer));
  }
  ASSIGN_OR_RETURN(decoder_bias_, reader.Bias("decoder", /*both_ways=*/false));
  ASSIGN_OR_RETURN(decoder_norm_, reader.FinalNorm("decoder"));
  ASSIGN_OR_RETURN(at::Tensor output, reader.OutputLayer(embedding_));
  output_ = JointLinear({"lm_head"}, std::move(output));
  linear_layers_ = reader.linear_layers();
  return reader.CheckAllTaken();
}

at::Tensor T5Model::Embed(const at::Tensor& ids) const { return at::embedding(embedding_, ids).to(inference_dtype()); }

at::Tensor T5Model::Encode(const PackedBatch& batch, const ForwardHooks& hooks) const {
  const at::Tensor words = Embed(batch.ids);
  return encoder_(hooks.prompts ? hooks.prompts(words, batch) : words, batch, hooks, own_kernels_);
}

std::vector<at::Tensor> T5Model::SourceKeysValues(const at::Tensor& states, const ForwardHooks& hooks) const {
  std::vector<at::Tensor> kept;
  for (const T5DecoderLayer& layer : decoder_) kept.push_back(layer.source.kv(states, hooks, Lines::kTokens));
  return kept;
}

std::unique_ptr<StepAttention> T5Model::NewStepAttention() const {
  const AttentionSizes sizes{config_.num_decoder_layers, config_.num_heads, config_.d_kv};
  if (own_kernels_) return MakeKernelAttention(sizes, &decoder_bias_);
  return MakePlainAttention(sizes, &decoder_bias_, embedding_.options());
}

at::Tensor T5Model::Step(const at::Tensor& ids, StepAttention& attention, const ForwardHooks& hooks) const {
  const Lines lines = Lines::kRows;
  const at::Tensor x = Embed(ids);
  at::Tensor normed = decoder_[0].attention.norm(x);
  for (size_t i = 0; i < decoder_.size(); ++i) {
    const T5DecoderLayer& layer = decoder_[i];
    const auto index = static_cast<int64_t>(i);
    const at::Tensor own = attention.Tokens(index, layer.attention.qkv(normed, hooks, lines));
    normed = layer.source.norm.AddAndNorm(x, layer.attention.o.Last(own, x, hooks, lines));
    const at::Tensor read = attention.Source(index, layer.source.q(normed, hooks, lines));
    normed = layer.feed_forward.norm.AddAndNorm(x, layer.source.o.Last(read, x, hooks, lines));
    const RmsNorm& next = i + 1 < decoder_.size() ? decoder_[i + 1].attention.norm : decoder_norm_;
    normed = next.AddAndNorm(x, layer.feed_forward(normed, x, hooks, lines));
  }
  if (config_.scale_outputs) normed.mul_(1.0 / std::sqrt(static_cast<double>(config_.d_model)));
  return normed;
}

at::Tensor T5Model::Output(const at::Tensor& states, const ForwardHooks& hooks) const {
  return output_(states, hooks, Lines::kRows).to(at::kFloat);
}

at::Tensor T5Model::CopyWords(const std::vector<int64_t>& ids) const {
  return embedding_.index_select(0, at::tensor(ids, at::kLong).to(device_)).to(at::kFloat);
}

at::Tensor T5Model::CopyLinear(const std::string& module) const {
  std::vector<const JointLinear*> all = {&output_};
  const auto add = [&](const SelfAttentionWeights& attention, const FeedForward& feed_forward) {
    all.insert(all.end(), {&attention.qkv, &attention.o, &feed_forward.wi, &feed_forward.wo});
  };
  for (const T5EncoderLayer& layer : encoder_.layers()) add(layer.attention, layer.feed_forward);
  for (const T5DecoderLayer& layer : decoder_) {
    add(layer.attention, layer.feed_forward);
    all.insert(all.end(), {&layer.source.q, &layer.source.kv, &layer.source.o});
  }
  for (const JointLinear* joint : all) {
    if (at::Tensor copy = joint->Copy(module); copy.defined()) return copy;
  }
  return {};
}

void T5Model::PrepareInference(const RunAlone& run_alone) {
  const bool fits = device_.is_cpu() && CanAttend(config_.d_kv) && config_.d_model % PanelWeight::kWidth == 0;
  // Of many tokens, in the encoder; of a few lines, in the decoder.
  KernelChoice tokens(run_alone), steps(run_alone, kStepLines);
  std::vector<JointLinear*> of_tokens, of_lines = {&output_};
  for (T5EncoderLayer& layer : encoder_.layers()) {
    of_tokens.insert(of_tokens.end(),
                     {&layer.attention.qkv, &layer.attention.o, &layer.feed_forward.wi, &layer.feed_forward.wo});
  }
  std::vector<KernelChoice::Layer> measured;
  for (size_t i = 0; i < 4; ++i) measured.push_back(of_tokens[i]->linear().Measured(Activation::kNone));
  for (T5DecoderLayer& layer : decoder_) {
    of_tokens.push_back(&layer.source.kv);
    of_lines.insert(of_lines.end(), {&layer.attention.qkv, &layer.attention.o, &layer.source.q, &layer.source.o,
                                     &layer.feed_forward.wi, &layer.feed_forward.wo});
  }
  std::optional<PanelFormat> panels;
  if (fits) panels = tokens.PreferPanels(measured);
  by_rows_ = panels.has_value();
  own_kernels_ = fits && (by_rows_ || type_ == at::kFloat);
  for (JointLinear* joint : of_tokens) {
    if (by_rows_) {
      joint->linear().PreparePanels(*panels);
    } else {
      joint->linear().Prepare(tokens, Activation::kNone);
    }
  }
  for (JointLinear* joint : of_lines) {
    if (own_kernels_ && type_ != at::kFloat) {
      joint->linear().PreparePanels(*panels);  // the others would take states of the weights' type
    } else if (own_kernels_) {
      joint->linear().PrepareFastest(steps, Activation::kNone);
    } else {
      joint->linear().Prepare(steps, Activation::kNone);
    }
  }
}

int64_t T5Model::ResidentBytes() const {
  int64_t bytes = TensorBytes(embedding_) + encoder_.Bytes() + decoder_bias_.Bytes() + decoder_norm_.Bytes();
  for (const T5DecoderLayer& layer : decoder_) {
    bytes += layer.attention.Bytes() + layer.source.Bytes() + layer.feed_forward.Bytes();
  }
  // A shared embedding is counted once.
  const bool shared = output_.linear().weight().is_same(embedding_);
  return bytes + output_.Bytes() - (shared ? TensorBytes(embedding_) : 0);
}

}  // namespace tenon::engine
