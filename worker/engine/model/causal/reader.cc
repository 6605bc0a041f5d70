#include "worker/engine/model/causal/reader.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>

#include <set>

#include "absl/strings/match.h"
#include "common/formats/status.h"

namespace tenon::engine {
namespace {

constexpr char kOutput[] = "lm_head";

std::string PrefixOf(const formats::CausalConfig& config, const formats::Safetensors& file) {
  return formats::FindPrefix(*config.family, [&](const std::string& name) { return file.Find(name) != nullptr; });
}

}  // namespace

CausalReader::CausalReader(const formats::CausalConfig& config, const formats::Safetensors& file, at::Device device,
                           at::ScalarType type)
    : config_(config), file_(file), weights_(file, device, type, PrefixOf(config, file)) {}

absl::StatusOr<at::Tensor> CausalReader::Embedding() {
  return weights_.Take(config_.family->words + ".weight", {config_.vocab_size, config_.word_size});
}

absl::StatusOr<at::Tensor> CausalReader::Positions() {
  const int64_t offset = config_.position_offset;
  ASSIGN_OR_RETURN(at::Tensor table, weights_.Take(config_.family->positions + ".weight",
                                                   {config_.max_tokens + offset, config_.hidden_size}));
  return offset == 0 ? table : table.narrow(0, offset, config_.max_tokens).contiguous();
}

absl::StatusOr<JointLinear> CausalReader::OutputLayer(const at::Tensor& embedding) {
  const std::string name = std::string(kOutput) + ".weight";
  if (file_.Find(name) == nullptr && config_.tied) return JointLinear({kOutput}, embedding);
  ASSIGN_OR_RETURN(at::Tensor output,
                   weights_.TakeHead(name, {config_.vocab_size, config_.word_size}, embedding.scalar_type()));
  // One copy in memory is enough; an output layer that is the embedding is no layer of its own.
  if (at::equal(output, embedding)) return JointLinear({kOutput}, embedding);
  linear_layers_[kOutput] = {config_.vocab_size, config_.word_size};
  return JointLinear({kOutput}, std::move(output));
}

absl::StatusOr<LayerNorm> CausalReader::Norm(const std::string& name) {
  ASSIGN_OR_RETURN(at::Tensor weight, weights_.Take(name + ".weight", {config_.hidden_size}));
  ASSIGN_OR_RETURN(at::Tensor shift, weights_.Take(name + ".bias", {config_.hidden_size}));
  return LayerNorm(std::move(weight), std::move(shift), config_.layer_norm_eps);
}

absl::StatusOr<at::Tensor> CausalReader::Weight(const std::string& name, int64_t in, int64_t out, bool turned) {
  linear_layers_[name] = {out, in};
  if (!turned) return weights_.Take(name + ".weight", {out, in});
  ASSIGN_OR_RETURN(const at::Tensor weight, weights_.Take(name + ".weight", {in, out}));
  return weight.t().contiguous();
}

absl::StatusOr<JointLinear> CausalReader::Linears(const std::vector<std::string>& names, int64_t in, int64_t out) {
  const int64_t each = out / static_cast<int64_t>(names.size());
  std::vector<at::Tensor> weights, biases;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(at::Tensor weight, Weight(name, in, each, config_.family->turned));
    ASSIGN_OR_RETURN(at::Tensor bias, weights_.Take(name + ".bias", {each}));
    weights.push_back(std::move(weight));
    biases.push_back(std::move(bias));
  }
  if (names.size() == 1) return JointLinear(names, std::move(weights[0]), std::move(biases[0]));
  return JointLinear(names, at::cat(weights), at::cat(biases));
}

absl::StatusOr<JointLinear> CausalReader::Projection(const std::string& name, int64_t in, int64_t out) {
  ASSIGN_OR_RETURN(at::Tensor weight, Weight(name, in, out, /*turned=*/false));
  return JointLinear({name}, std::move(weight));
}

absl::Status CausalReader::CheckAllTaken() const {
  std::set<std::string> buffers;
  for (const auto& [name, view] : file_.tensors()) {
    for (const std::string& end : config_.family->buffers) {
      if (absl::EndsWith(name, end)) buffers.insert(name);
    }
  }
  return weights_.CheckAllTaken(buffers);
}

}  // namespace tenon::engine
