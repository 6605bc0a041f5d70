#include "worker/engine/model/bart/reader.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>

#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::engine {
namespace {

std::string PrefixIn(const formats::Safetensors& file) {
  return formats::BartPrefix([&](const std::string& name) { return file.Find(name) != nullptr; });
}

}  // namespace

int64_t BartDecoderLayer::Bytes() const {
  return qkv.Bytes() + attention_output.Bytes() + attention_norm.Bytes() + source_q.Bytes() + source_kv.Bytes() +
         source_output.Bytes() + source_norm.Bytes() + intermediate.Bytes() + output.Bytes() + output_norm.Bytes();
}

BartReader::BartReader(const formats::BartConfig& config, const formats::Safetensors& file, at::Device device,
                       at::ScalarType type)
    : config_(config), file_(file), prefix_(PrefixIn(file)), weights_(file, device, type, prefix_) {}

absl::StatusOr<at::Tensor> BartReader::Embedding() {
  const std::vector<int64_t> shape = {config_.vocab_size, config_.d_model};
  std::string name = absl::StrCat(formats::kBartEmbeddings[0], ".weight");
  at::Tensor embedding;
  for (const char* module : formats::kBartEmbeddings) {
    const bool is_output = module == std::end(formats::kBartEmbeddings)[-1];
    const std::string other = absl::StrCat(module, ".weight");
    if (is_output) {
      // An output layer that has a name of its own beside the embedding's is read as one.
      if (embedding.defined() || !Has(other)) continue;
      ASSIGN_OR_RETURN(embedding, weights_.TakeHead(other, shape, weights_.type()));
      continue;
    }
    if (!weights_.Has(other)) continue;
    ASSIGN_OR_RETURN(at::Tensor copy, weights_.Take(other, shape));
    if (!embedding.defined()) {
      name = other;
      embedding = std::move(copy);
    } else if (!at::equal(copy, embedding)) {
      return TenonError(Reason::kBaseInvalid, absl::StrCat("tensor ", prefix_, other, " differs from ", prefix_, name),
                        prefix_ + other);
    }
  }
  if (embedding.defined()) return embedding;
  return weights_.Take(name, shape);  // which is missing, and named
}

absl::StatusOr<at::Tensor> BartReader::DecoderPositions() {
  ASSIGN_OR_RETURN(const at::Tensor table, weights_.Take(absl::StrCat(formats::kBartDecoderPositions, ".weight"),
                                                         {config_.position_rows(), config_.d_model}));
  return table.narrow(0, formats::kBartPositionOffset, config_.max_positions).contiguous();
}

absl::StatusOr<PostNorm> BartReader::Norm(const std::string& name) {
  FrozenNorm norm;
  norm.eps = formats::kBartNormEps;
  ASSIGN_OR_RETURN(norm.weight, weights_.Take(name + ".weight", {config_.d_model}));
  ASSIGN_OR_RETURN(norm.shift, weights_.Take(name + ".bias", {config_.d_model}));
  return PostNorm(std::move(norm));
}

absl::StatusOr<PostNorm> BartReader::DecoderNorm() { return Norm(formats::kBartDecoderNorm); }

absl::StatusOr<JointLinear> BartReader::Linears(const std::vector<std::string>& modules, int64_t in, int64_t out) {
  std::vector<at::Tensor> matrices, biases;
  for (const std::string& module : modules) {
    ASSIGN_OR_RETURN(matrices.emplace_back(), weights_.Take(module + ".weight", {out, in}));
    ASSIGN_OR_RETURN(biases.emplace_back(), weights_.Take(module + ".bias", {out}));
    linear_layers_[module] = {out, in};
  }
  if (modules.size() == 1) return JointLinear(modules, matrices[0], biases[0]);
  return JointLinear(modules, at::cat(matrices), at::cat(biases));
}

absl::StatusOr<BartDecoderLayer> BartReader::Layer(int64_t index) {
  const formats::BartDecoderNames names = formats::BartDecoderLayer(index);
  const int64_t hidden = config_.d_model, wide = config_.decoder_ffn_dim;
  BartDecoderLayer layer;
  ASSIGN_OR_RETURN(layer.qkv, Linears({names.query, names.key, names.value}, hidden, hidden));
  ASSIGN_OR_RETURN(layer.attention_output, Linears({names.attention_output}, hidden, hidden));
  ASSIGN_OR_RETURN(layer.attention_norm, Norm(names.attention_norm));
  ASSIGN_OR_RETURN(layer.source_q, Linears({names.source_query}, hidden, hidden));
  ASSIGN_OR_RETURN(layer.source_kv, Linears({names.source_key, names.source_value}, hidden, hidden));
  ASSIGN_OR_RETURN(layer.source_output, Linears({names.source_output}, hidden, hidden));
  ASSIGN_OR_RETURN(layer.source_norm, Norm(names.source_norm));
  ASSIGN_OR_RETURN(layer.intermediate, Linears({names.intermediate}, hidden, wide));
  ASSIGN_OR_RETURN(layer.output, Linears({names.output}, wide, hidden));
  ASSIGN_OR_RETURN(layer.output_norm, Norm(names.output_norm));
  return layer;
}

absl::StatusOr<at::Tensor> BartReader::OutputLayer(const at::Tensor& embedding) {
  const std::string name = absl::StrCat(formats::kBartOutput, ".weight");
  if (!Has(name)) return embedding;
  ASSIGN_OR_RETURN(at::Tensor output, weights_.TakeHead(name, {config_.vocab_size, config_.d_model}, weights_.type()));
  // One copy in memory is enough.
  if (at::equal(output, embedding)) return embedding;
  linear_layers_[formats::kBartOutput] = {config_.vocab_size, config_.d_model};
  return output;
}

absl::StatusOr<at::Tensor> BartReader::OutputBias() {
  if (!Has(formats::kBartOutputBias)) return at::Tensor();
  ASSIGN_OR_RETURN(const at::Tensor bias,
                   weights_.TakeHead(formats::kBartOutputBias, {1, config_.vocab_size}, at::kFloat));
  return bias.any().item<bool>() ? bias.view({-1}) : at::Tensor();
}

absl::Status BartReader::CheckAllTaken() const {
  // Counts that old files keep; no version of the model reads them.
  return weights_.CheckAllTaken({prefix_ + "encoder.version", prefix_ + "decoder.version"});
}

}  // namespace tenon::engine
