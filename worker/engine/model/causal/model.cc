#include "worker/engine/model/causal/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/embedding.h>

#include <cmath>
#include <optional>

#include "worker/engine/model/attend.h"
#include "worker/engine/model/causal/causal_attention.h"
#include "worker/engine/model/panel_gemm.h"
#include "worker/engine/model/torch_util.h"

namespace tenon::engine {
namespace {

// What products are measured with: a small batch, whose weights are read from memory at every step. A prompt's tokens
// are read once.
constexpr int64_t kStepLines = 8;

}  // namespace

int64_t CausalLayer::Bytes() const {
  return qkv.Bytes() + attention_output.Bytes() + behind_attention.Bytes() + intermediate.Bytes() + output.Bytes() +
         behind_output.Bytes();
}

absl::StatusOr<std::shared_ptr<const CausalModel>> CausalModel::Load(const formats::CausalConfig& config,
                                                                     const formats::Safetensors& weights,
                                                                     const Device& device, Precision precision,
                                                                     bool prepare_inference,
                                                                     const RunAlone& run_alone) {
  return Guarded([&]() -> absl::StatusOr<std::shared_ptr<const CausalModel>> {
    const at::Device where = TorchDevice(device);
    std::shared_ptr<CausalModel> model(new CausalModel(config, where, TorchType(precision)));
    CausalReader reader(config, weights, where, TorchType(precision));
    RETURN_IF_ERROR(model->Read(reader));
    if (prepare_inference) model->PrepareInference(run_alone);
    return std::shared_ptr<const CausalModel>(std::move(model));
  });
}

absl::Status CausalModel::Read(CausalReader& reader) {
  const formats::CausalFamily& family = *config_.family;
  ASSIGN_OR_RETURN(embedding_, reader.Embedding());
  ASSIGN_OR_RETURN(positions_, reader.Positions());
  if (config_.projects()) {
    ASSIGN_OR_RETURN(project_in_, reader.Projection(family.project_in, config_.word_size, config_.hidden_size));
    ASSIGN_OR_RETURN(project_out_, reader.Projection(family.project_out, config_.hidden_size, config_.word_size));
  }
  RETURN_IF_ERROR(ReadLayers(reader));
  ASSIGN_OR_RETURN(output_, reader.OutputLayer(embedding_));
  linear_layers_ = reader.linear_layers();
  return reader.CheckAllTaken();
}

absl::Status CausalModel::ReadLayers(CausalReader& reader) {
  const int64_t hidden = config_.hidden_size;
  LayerNorm* before = &first_norm_;  // the next layer's own norm, where norms stand before
  layers_.resize(static_cast<size_t>(config_.num_layers));
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    const formats::CausalLayerNames names = config_.family->Layer(i);
    CausalLayer& layer = layers_[static_cast<size_t>(i)];
    ASSIGN_OR_RETURN(layer.qkv, reader.Linears(names.qkv, hidden, 3 * hidden));
    ASSIGN_OR_RETURN(layer.attention_output, reader.Linears({names.attention_output}, hidden, hidden));
    ASSIGN_OR_RETURN(layer.intermediate, reader.Linears({names.intermediate}, hidden, config_.intermediate_size));
    ASSIGN_OR_RETURN(layer.output, reader.Linears({names.output}, config_.intermediate_size, hidden));
    ASSIGN_OR_RETURN(LayerNorm of_attention, reader.Norm(names.attention_norm));
    ASSIGN_OR_RETURN(LayerNorm of_output, reader.Norm(names.output_norm));
    if (config_.norm_first) {
      *before = std::move(of_attention);
      layer.behind_attention = std::move(of_output);
      before = &layer.behind_output;
    } else {
      layer.behind_attention = std::move(of_attention);
      layer.behind_output = std::move(of_output);
    }
  }
  if (!config_.final_norm) return absl::OkStatus();
  ASSIGN_OR_RETURN(*before, reader.Norm(config_.family->final_norm));
  return absl::OkStatus();
}

std::unique_ptr<StepAttention> CausalModel::NewStepAttention() const {
  const AttentionSizes sizes{config_.num_layers, config_.num_heads, config_.hidden_size / config_.num_heads};
  if (own_kernels_) return MakeKernelAttention(sizes, /*bias=*/nullptr);
  return MakePlainAttention(sizes, /*bias=*/nullptr, embedding_.options());
}

at::Tensor CausalModel::Words(const at::Tensor& ids) const {
  return at::embedding(embedding_, ids).to(inference_dtype());
}

at::Tensor CausalModel::Run(const at::Tensor& words, const at::Tensor& positions, const Attention& attend,
                            const ForwardHooks& hooks, Lines lines) const {
  const double scale = 1.0 / std::sqrt(static_cast<double>(config_.hidden_size / config_.num_heads));
  at::Tensor x = config_.projects() ? project_in_(words, hooks, lines) : words;
  x = x.add_(at::embedding(positions_, positions));
  at::Tensor states = first_norm_.defined() ? first_norm_(x) : x;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const CausalLayer& layer = layers_[i];
    const at::Tensor qkv = layer.qkv(states, hooks, lines);
    qkv.narrow(1, 0, config_.hidden_size).mul_(scale);
    const at::Tensor context = attend(static_cast<int64_t>(i), qkv);
    if (!context.defined()) return {};
    states = layer.behind_attention.AddAndNorm(x, layer.attention_output(context, hooks, lines));
    if (!config_.norm_first) x = states;
    const at::Tensor wide = layer.intermediate(states, hooks, lines, activation_);
    states = layer.behind_output.AddAndNorm(x, layer.output(wide, hooks, lines));
    if (!config_.norm_first) x = states;
  }
  return states;
}

void CausalModel::Read(const PackedBatch& batch, absl::Span<const int32_t> slots, int64_t all_slots,
                       StepAttention& attention, const ForwardHooks& hooks) const {
  const at::Tensor words = Words(batch.ids);
  const auto attend = [&](int64_t index, const at::Tensor& qkv) {
    attention.Keep(index, slots, qkv, all_slots);
    if (index + 1 == config_.num_layers) return at::Tensor();
    return CausalAttention(qkv, batch, config_.num_heads, own_kernels_);
  };
  Run(hooks.prompts ? hooks.prompts(words, batch) : words, batch.positions, attend, hooks, Lines::kTokens);
}

at::Tensor CausalModel::Step(const at::Tensor& ids, const at::Tensor& positions, StepAttention& attention,
                             const ForwardHooks& hooks) const {
  const at::Tensor states = Run(
      Words(ids), positions, [&](int64_t index, const at::Tensor& qkv) { return attention.Tokens(index, qkv); }, hooks,
      Lines::kRows);
  return config_.projects() ? project_out_(states, hooks, Lines::kRows) : states;
}

at::Tensor CausalModel::Output(const at::Tensor& states, const ForwardHooks& hooks) const {
  return output_(states, hooks, Lines::kRows).to(at::kFloat);
}

std::vector<JointLinear*> CausalModel::Products() {
  std::vector<JointLinear*> products;
  for (CausalLayer& layer : layers_) {
    products.insert(products.end(), {&layer.qkv, &layer.attention_output, &layer.intermediate, &layer.output});
  }
  if (config_.projects()) products.insert(products.end(), {&project_in_, &project_out_});
  products.push_back(&output_);
  return products;
}

void CausalModel::PrepareInference(const RunAlone& run_alone) {
  const bool fits = device_.is_cpu() && CanAttend(config_.hidden_size / config_.num_heads) &&
                    config_.hidden_size % PanelWeight::kWidth == 0;
  KernelChoice steps(run_alone, kStepLines);
  // In bf16 our own kernels run where their products are faster; they take fp32 states, which no other product does.
  std::optional<PanelFormat> panels;
  if (fits && type_ != at::kFloat) {
    KernelChoice tokens(run_alone);
    const CausalLayer& layer = layers_[0];
    std::vector<KernelChoice::Layer> measured;
    for (const JointLinear* joint : {&layer.qkv, &layer.attention_output, &layer.intermediate, &layer.output}) {
      measured.push_back(joint->linear().Measured(Activation::kNone));
    }
    panels = tokens.PreferPanels(measured);
  }
  own_kernels_ = fits && (panels.has_value() || type_ == at::kFloat);
  for (JointLinear* joint : Products()) {
    if (panels.has_value()) {
      joint->linear().PreparePanels(*panels);
    } else if (own_kernels_) {
      joint->linear().PrepareFastest(steps, Activation::kNone);
    } else {
      joint->linear().Prepare(steps, Activation::kNone);
    }
  }
}

int64_t CausalModel::ResidentBytes() const {
  int64_t bytes = TensorBytes(embedding_) + TensorBytes(positions_);
  if (config_.projects()) bytes += project_in_.Bytes() + project_out_.Bytes();
  if (first_norm_.defined()) bytes += first_norm_.Bytes();
  for (const CausalLayer& layer : layers_) bytes += layer.Bytes();
  // A shared embedding is counted once.
  const bool shared = output_.linear().weight().is_same(embedding_);
  return bytes + output_.Bytes() - (shared ? TensorBytes(embedding_) : 0);
}

}  // namespace tenon::engine
