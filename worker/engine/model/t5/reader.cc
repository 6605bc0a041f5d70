#include "worker/engine/model/t5/reader.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::engine {
namespace {

constexpr char kOutput[] = "lm_head.weight";
constexpr const char* kCopies[] = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"};

}  // namespace

std::string T5FinalNormName(const std::string& stack) { return stack + ".final_layer_norm"; }
std::string T5BiasName(const std::string& stack) {
  return stack + ".block.0.layer.0.SelfAttention.relative_attention_bias";
}

absl::StatusOr<at::Tensor> T5Reader::Embedding() {
  const std::vector<int64_t> shape = {config_.vocab_size, config_.d_model};
  std::string name = absl::StrCat(kT5Embedding, ".weight");
  for (const char* other : {kCopies[0], kCopies[1], kOutput}) {
    if (!weights_.Has(name) && weights_.Has(other) && (other != kOutput || config_.tied)) name = other;
  }
  ASSIGN_OR_RETURN(at::Tensor embedding, weights_.Take(name, shape));
  for (const char* copy : kCopies) {
    if (copy == name || !weights_.Has(copy)) continue;
    ASSIGN_OR_RETURN(const at::Tensor other, weights_.Take(copy, shape));
    if (!at::equal(other, embedding)) {
      return TenonError(Reason::kBaseInvalid, absl::StrCat("tensor ", copy, " differs from ", name), copy);
    }
  }
  return embedding;
}

absl::StatusOr<at::Tensor> T5Reader::OutputLayer(const at::Tensor& embedding) {
  if (!weights_.Has(kOutput) && config_.tied) return embedding;
  ASSIGN_OR_RETURN(at::Tensor output, weights_.Take(kOutput, {config_.vocab_size, config_.d_model}));
  linear_layers_["lm_head"] = {config_.vocab_size, config_.d_model};
  // One copy in memory is enough.
  return at::equal(output, embedding) ? embedding : output;
}

absl::StatusOr<RelativeBias> T5Reader::Bias(const std::string& stack, bool both_ways) {
  ASSIGN_OR_RETURN(const at::Tensor weight, weights_.Take(T5BiasName(stack) + ".weight",
                                                          {config_.relative_attention_num_buckets, config_.num_heads}));
  return RelativeBias(weight, config_.relative_attention_max_distance, both_ways);
}

absl::StatusOr<RmsNorm> T5Reader::Norm(const std::string& name) {
  ASSIGN_OR_RETURN(at::Tensor weight, weights_.Take(name + ".weight", {config_.d_model}));
  return RmsNorm(std::move(weight), config_.layer_norm_epsilon);
}

absl::StatusOr<RmsNorm> T5Reader::FinalNorm(const std::string& stack) { return Norm(T5FinalNormName(stack)); }

absl::StatusOr<JointLinear> T5Reader::Linears(const std::string& prefix, const std::vector<std::string>& names,
                                              int64_t in, int64_t out) {
  std::vector<std::string> modules;
  std::vector<at::Tensor> parts;
  for (const std::string& name : names) {
    modules.push_back(prefix + name);
    ASSIGN_OR_RETURN(at::Tensor weight, weights_.Take(modules.back() + ".weight", {out, in}));
    parts.push_back(std::move(weight));
    linear_layers_[modules.back()] = {out, in};
  }
  return JointLinear(std::move(modules), parts.size() == 1 ? parts[0] : at::cat(parts));
}

absl::StatusOr<SelfAttentionWeights> T5Reader::SelfAttention(const std::string& name) {
  const int64_t heads = config_.num_heads * config_.d_kv;
  const std::string prefix = name + ".SelfAttention.";
  SelfAttentionWeights attention;
  ASSIGN_OR_RETURN(attention.norm, Norm(name + ".layer_norm"));
  ASSIGN_OR_RETURN(attention.qkv, Linears(prefix, {"q", "k", "v"}, config_.d_model, heads));
  ASSIGN_OR_RETURN(attention.o, Linears(prefix, {"o"}, heads, config_.d_model));
  return attention;
}

absl::StatusOr<CrossAttentionWeights> T5Reader::CrossAttention(const std::string& name) {
  const int64_t heads = config_.num_heads * config_.d_kv;
  const std::string prefix = name + ".EncDecAttention.";
  CrossAttentionWeights attention;
  ASSIGN_OR_RETURN(attention.norm, Norm(name + ".layer_norm"));
  ASSIGN_OR_RETURN(attention.q, Linears(prefix, {"q"}, config_.d_model, heads));
  ASSIGN_OR_RETURN(attention.kv, Linears(prefix, {"k", "v"}, config_.d_model, heads));
  ASSIGN_OR_RETURN(attention.o, Linears(prefix, {"o"}, heads, config_.d_model));
  return attention;
}

absl::StatusOr<FeedForward> T5Reader::FeedForwardBlock(const std::string& name) {
  const std::string prefix = name + ".DenseReluDense.";
  const std::vector<std::string> in =
      config_.gated ? std::vector<std::string>{"wi_0", "wi_1"} : std::vector<std::string>{"wi"};
  FeedForward block;
  block.gated = config_.gated;
  ASSIGN_OR_RETURN(block.norm, Norm(name + ".layer_norm"));
  ASSIGN_OR_RETURN(block.wi, Linears(prefix, in, config_.d_model, config_.d_ff));
  ASSIGN_OR_RETURN(block.wo, Linears(prefix, {"wo"}, config_.d_ff, config_.d_model));
  return block;
}

absl::Status T5Reader::CheckAllTaken() const {
  // Checkpoints made before 2021 have it; no version of the model reads it.
  return weights_.CheckAllTaken({"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"});
}

}  // namespace tenon::engine
