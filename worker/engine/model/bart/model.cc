#include "worker/engine/model/bart/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/embedding.h>

#include <cmath>
#include <optional>

#include "worker/engine/model/attend.h"
#include "worker/engine/model/panel_gemm.h"
#include "worker/engine/model/torch_util.h"

namespace tenon::engine {
namespace {

// What a decoder's products are measured with: a small batch, whose weights are read from memory at every step.
constexpr int64_t kStepLines = 8;

}  // namespace

absl::StatusOr<std::shared_ptr<const BartModel>> BartModel::Load(const formats::BartConfig& config,
                                                                 const formats::Safetensors& weights,
                                                                 const Device& device, Precision precision,
                                                                 bool prepare_inference, const RunAlone& run_alone) {
  return Guarded([&]() -> absl::StatusOr<std::shared_ptr<const BartModel>> {
    const at::Device where = TorchDevice(device);
    std::shared_ptr<BartModel> model(new BartModel(config, where, TorchType(precision)));
    BartReader reader(config, weights, where, TorchType(precision));
    RETURN_IF_ERROR(model->Read(reader, prepare_inference, run_alone));
    return std::shared_ptr<const BartModel>(std::move(model));
  });
}

bool BartModel::Fits() const {
  return device_.is_cpu() && CanAttend(head_size()) && config_.d_model % PanelWeight::kWidth == 0;
}

absl::Status BartModel::Read(BartReader& reader, bool prepare_inference, const RunAlone& run_alone) {
  ASSIGN_OR_RETURN(embedding_, reader.Embedding());
  // Both stacks' states, and an adapter's tensors, are of one type: an encoder that widens bf16 needs a decoder that
  // does.
  const bool prepare_encoder = prepare_inference && (Fits() || type_ == at::kFloat);
  ASSIGN_OR_RETURN(encoder_, Encoder::Read(formats::BartEncoderConfig(config_), reader.weights(), embedding_, device_,
                                           type_, prepare_encoder, run_alone));
  ASSIGN_OR_RETURN(positions_, reader.DecoderPositions());
  ASSIGN_OR_RETURN(norm_, reader.DecoderNorm());
  for (int64_t i = 0; i < config_.decoder_layers; ++i) {
    ASSIGN_OR_RETURN(decoder_.emplace_back(), reader.Layer(i));
  }
  ASSIGN_OR_RETURN(at::Tensor output, reader.OutputLayer(embedding_));
  output_ = JointLinear({formats::kBartOutput}, std::move(output));
  ASSIGN_OR_RETURN(output_bias_, reader.OutputBias());
  linear_layers_ = reader.linear_layers();
  linear_layers_.insert(encoder_->linear_layers().begin(), encoder_->linear_layers().end());
  RETURN_IF_ERROR(reader.CheckAllTaken());
  if (prepare_inference) PrepareDecoder(run_alone);
  return absl::OkStatus();
}

at::Tensor BartModel::Encode(const PackedBatch& batch, const ForwardHooks& hooks) const {
  at::Tensor x = encoder_->Embed(batch, hooks);
  for (int64_t i = 0; i < config_.encoder_layers; ++i) x = encoder_->Layer(i, x, batch, hooks, Lines::kTokens);
  return x;
}

std::vector<at::Tensor> BartModel::SourceKeysValues(const at::Tensor& states, const ForwardHooks& hooks) const {
  std::vector<at::Tensor> kept;
  for (const BartDecoderLayer& layer : decoder_) kept.push_back(layer.source_kv(states, hooks, Lines::kTokens));
  return kept;
}

std::unique_ptr<StepAttention> BartModel::NewStepAttention() const {
  const AttentionSizes sizes{config_.decoder_layers, config_.decoder_heads, head_size()};
  if (own_kernels_) return MakeKernelAttention(sizes, nullptr);
  return MakePlainAttention(sizes, nullptr, embedding_.options());
}

at::Tensor BartModel::Step(const at::Tensor& ids, const at::Tensor& places, StepAttention& attention,
                           const ForwardHooks& hooks) const {
  const Lines lines = Lines::kRows;
  const int64_t hidden = config_.d_model;
  const double scale = 1 / std::sqrt(static_cast<double>(head_size()));
  at::Tensor x = at::embedding(embedding_, ids).to(inference_dtype());
  if (config_.scale_embedding) x.mul_(std::sqrt(static_cast<double>(hidden)));
  x = norm_(x, at::embedding(positions_, places).to(x.scalar_type()));
  for (size_t i = 0; i < decoder_.size(); ++i) {
    const BartDecoderLayer& layer = decoder_[i];
    const auto index = static_cast<int64_t>(i);
    const at::Tensor qkv = layer.qkv(x, hooks, lines);
    qkv.narrow(1, 0, hidden).mul_(scale);
    x = layer.attention_norm(layer.attention_output(attention.Tokens(index, qkv), hooks, lines), x);
    const at::Tensor q = layer.source_q(x, hooks, lines).mul_(scale);
    x = layer.source_norm(layer.source_output(attention.Source(index, q), hooks, lines), x);
    x = layer.output_norm(layer.output(layer.intermediate(x, hooks, lines, activation_), hooks, lines), x);
  }
  return x;
}

at::Tensor BartModel::Output(const at::Tensor& states, const ForwardHooks& hooks) const {
  const at::Tensor logits = output_(states, hooks, Lines::kRows).to(at::kFloat);
  return output_bias_.defined() ? logits + output_bias_ : logits;
}

void BartModel::PrepareDecoder(const RunAlone& run_alone) {
  own_kernels_ = Fits() && (encoder_->by_rows() || type_ == at::kFloat);
  const std::optional<PanelFormat> panels = encoder_->panels();
  // Of many tokens, and of a few lines.
  KernelChoice tokens(run_alone), steps(run_alone, kStepLines);
  const auto of_lines = [&](JointLinear& joint, Activation activation) {
    if (own_kernels_ && type_ != at::kFloat) {
      joint.linear().PreparePanels(*panels);  // the others would take states of the weights' type
    } else if (own_kernels_) {
      joint.linear().PrepareFastest(steps, activation);
    } else {
      joint.linear().Prepare(steps, activation);
    }
  };
  of_lines(output_, Activation::kNone);
  for (BartDecoderLayer& layer : decoder_) {
    if (panels.has_value()) {
      layer.source_kv.linear().PreparePanels(*panels);
    } else {
      layer.source_kv.linear().Prepare(tokens, Activation::kNone);
    }
    for (JointLinear* joint :
         {&layer.qkv, &layer.attention_output, &layer.source_q, &layer.source_output, &layer.output}) {
      of_lines(*joint, Activation::kNone);
    }
    of_lines(layer.intermediate, activation_);
  }
}

int64_t BartModel::ResidentBytes() const {
  // The embedding is the encoder's as well, and counted there.
  int64_t bytes = encoder_->ResidentBytes() + TensorBytes(positions_) + norm_.Bytes() + TensorBytes(output_bias_);
  for (const BartDecoderLayer& layer : decoder_) bytes += layer.Bytes();
  const bool shared = output_.linear().weight().is_same(embedding_);
  return bytes + output_.Bytes() - (shared ? TensorBytes(embedding_) : 0);
}

}  // namespace tenon::engine
