#include "server/app/catalog_base_check.h"

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/formats/base_config.h"
#include "common/formats/encoder_family.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"

namespace tenon::server {
namespace {

using formats::BartConfig;
using formats::DType;
using formats::EncoderConfig;
using formats::Safetensors;
using formats::T5Config;
using formats::TensorView;

// Looks tensors up as checkpoints name them: with what stands before an encoder or without, LayerNorm's old names too.
class TensorCheck {
 public:
  explicit TensorCheck(const Safetensors& tensors, std::string prefix = "")
      : tensors_(tensors), prefix_(std::move(prefix)) {}

  void Encoder(const std::string& name, const std::vector<int64_t>& shape) { Expect(prefix_ + name, shape); }
  void Linear(const std::string& name, int64_t out, int64_t in) {
    Encoder(name + ".weight", {out, in});
    Encoder(name + ".bias", {out});
  }
  void LayerNorm(const std::string& name, int64_t size) {
    const bool old = tensors_.Find(prefix_ + name + ".gamma") != nullptr;
    Encoder(name + (old ? ".gamma" : ".weight"), {size});
    Encoder(name + (old ? ".beta" : ".bias"), {size});
  }
  // The name as it stands; the first fault is kept.
  void Expect(const std::string& name, const std::vector<int64_t>& shape) {
    if (!status_.ok()) return;
    const TensorView* view = tensors_.Find(name);
    if (view == nullptr) {
      status_ = Fault(name, "is missing");
    } else if (view->shape != shape) {
      status_ = Fault(name, absl::StrCat("has shape [", absl::StrJoin(view->shape, ", "), "], config.json says [",
                                         absl::StrJoin(shape, ", "), "]"));
    } else if (view->dtype != DType::kF32 && view->dtype != DType::kF16 && view->dtype != DType::kBF16) {
      status_ = Fault(name, absl::StrCat("is ", formats::DTypeName(view->dtype), ", not F32, F16 or BF16"));
    }
  }
  absl::Status status() const { return status_; }

 private:
  static absl::Status Fault(const std::string& name, const std::string& what) {
    return TenonError(Reason::kBaseInvalid, absl::StrCat("tensor '", name, "' ", what), name);
  }
  const Safetensors& tensors_;
  const std::string prefix_;
  absl::Status status_;
};

void CheckHead(const EncoderConfig& config, TensorCheck& check) {
  const formats::EncoderHead& head = config.family->head;
  const int64_t hidden = config.hidden_size;
  const auto expect = [&](const std::string& name, int64_t out) {
    check.Expect(name + ".weight", {out, hidden});
    check.Expect(name + ".bias", {out});
  };
  expect(formats::HeadModules(*config.family, config.head_kind).front().name,
         static_cast<int64_t>(config.labels.size()));
  if (config.head_kind != formats::HeadKind::kSequence) return;
  if (head.dense_in_encoder) {
    check.Linear(head.dense, hidden, hidden);
  } else {
    expect(head.dense, hidden);
  }
}

void CheckLayer(const formats::LayerNames& layer, int64_t hidden, int64_t wide, TensorCheck& check) {
  for (const std::string* name : {&layer.query, &layer.key, &layer.value, &layer.attention_output}) {
    check.Linear(*name, hidden, hidden);
  }
  check.LayerNorm(layer.attention_norm, hidden);
  check.Linear(layer.intermediate, wide, hidden);
  check.Linear(layer.output, hidden, wide);
  check.LayerNorm(layer.output_norm, hidden);
}

absl::Status CheckTensors(const EncoderConfig& config, const Safetensors& tensors) {
  const formats::EncoderFamily& family = *config.family;
  TensorCheck check(
      tensors, formats::FindPrefix(config, [&](const std::string& name) { return tensors.Find(name) != nullptr; }));
  const int64_t hidden = config.hidden_size;
  check.Encoder(family.embeddings.words + ".weight", {config.vocab_size, hidden});
  check.Encoder(family.embeddings.positions + ".weight", {config.max_position_embeddings, hidden});
  if (!family.embeddings.types.empty()) {
    check.Encoder(family.embeddings.types + ".weight", {config.type_vocab_size, hidden});
  }
  check.LayerNorm(family.embeddings.norm, hidden);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    CheckLayer(family.Layer(i), hidden, config.intermediate_size, check);
  }
  if (!config.labels.empty()) CheckHead(config, check);
  if (!config.projection.empty()) {
    check.Expect(config.projection + ".weight", {config.projection_dim, hidden});
    check.Expect(config.projection + ".bias", {config.projection_dim});
  }
  return check.status();
}

// One stack of T5's layers; a decoder's look at the encoder's states, too.
void CheckStack(const T5Config& config, const std::string& stack, int64_t layers, bool cross, TensorCheck& check) {
  const int64_t hidden = config.d_model, heads = config.num_heads * config.d_kv;
  for (int64_t i = 0; i < layers; ++i) {
    const std::string block = absl::StrCat(stack, ".block.", i, ".layer.");
    for (int64_t part = 0; part < (cross ? 2 : 1); ++part) {
      const std::string attention = absl::StrCat(block, part, part == 0 ? ".SelfAttention." : ".EncDecAttention.");
      for (const char* name : {"q", "k", "v"}) check.Expect(attention + name + ".weight", {heads, hidden});
      check.Expect(attention + "o.weight", {hidden, heads});
      check.Expect(absl::StrCat(block, part, ".layer_norm.weight"), {hidden});
    }
    const std::string last = absl::StrCat(block, cross ? 2 : 1);
    for (const char* name : {"wi", "wi_0", "wi_1"}) {
      if ((std::string(name) == "wi") != config.gated) {
        check.Expect(absl::StrCat(last, ".DenseReluDense.", name, ".weight"), {config.d_ff, hidden});
      }
    }
    check.Expect(last + ".DenseReluDense.wo.weight", {hidden, config.d_ff});
    check.Expect(last + ".layer_norm.weight", {hidden});
  }
  check.Expect(stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight",
               {config.relative_attention_num_buckets, config.num_heads});
  check.Expect(stack + ".final_layer_norm.weight", {hidden});
}

absl::Status CheckTensors(const T5Config& config, const Safetensors& tensors) {
  TensorCheck check(tensors);
  CheckStack(config, "encoder", config.num_layers, /*cross=*/false, check);
  CheckStack(config, "decoder", config.num_decoder_layers, /*cross=*/true, check);
  const std::vector<int64_t> table = {config.vocab_size, config.d_model};
  if (!config.tied || tensors.Find("lm_head.weight") != nullptr) check.Expect("lm_head.weight", table);
  // A file that shares tensors may have left all names but one away.
  std::vector<std::string> names = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"};
  if (config.tied) names.push_back("lm_head.weight");
  std::string embedding = "shared.weight";
  for (const std::string& name : names) {
    if (tensors.Find(embedding) == nullptr && tensors.Find(name) != nullptr) embedding = name;
  }
  check.Expect(embedding, table);
  return check.status();
}

absl::Status CheckTensors(const BartConfig& config, const Safetensors& tensors) {
  const std::string prefix =
      formats::BartPrefix([&](const std::string& name) { return tensors.Find(name) != nullptr; });
  TensorCheck check(tensors, prefix);
  const int64_t hidden = config.d_model;
  const std::vector<int64_t> table = {config.vocab_size, hidden};
  // A file that shares tensors may have left all names of the embedding but one away.
  std::string embedding = absl::StrCat(prefix, formats::kBartEmbeddings[0], ".weight");
  const std::string output = absl::StrCat(formats::kBartOutput, ".weight");
  for (const char* module : formats::kBartEmbeddings) {
    const std::string name = absl::StrCat(prefix, module, ".weight");
    if (tensors.Find(embedding) == nullptr && tensors.Find(name) != nullptr) embedding = name;
  }
  if (tensors.Find(embedding) == nullptr && tensors.Find(output) != nullptr) embedding = output;
  check.Expect(embedding, table);
  if (tensors.Find(output) != nullptr) check.Expect(output, table);
  if (tensors.Find(formats::kBartOutputBias) != nullptr) check.Expect(formats::kBartOutputBias, {1, config.vocab_size});
  const formats::EncoderFamily& encoder = formats::BartEncoderFamily();
  for (const std::string& positions : {encoder.embeddings.positions, std::string(formats::kBartDecoderPositions)}) {
    check.Encoder(positions + ".weight", {config.position_rows(), hidden});
  }
  check.LayerNorm(encoder.embeddings.norm, hidden);
  check.LayerNorm(formats::kBartDecoderNorm, hidden);
  for (int64_t i = 0; i < config.encoder_layers; ++i) {
    CheckLayer(encoder.Layer(i), hidden, config.encoder_ffn_dim, check);
  }
  for (int64_t i = 0; i < config.decoder_layers; ++i) {
    const formats::BartDecoderNames layer = formats::BartDecoderLayer(i);
    for (const std::string* name :
         {&layer.query, &layer.key, &layer.value, &layer.attention_output, &layer.source_query, &layer.source_key,
          &layer.source_value, &layer.source_output}) {
      check.Linear(*name, hidden, hidden);
    }
    check.Linear(layer.intermediate, config.decoder_ffn_dim, hidden);
    check.Linear(layer.output, hidden, config.decoder_ffn_dim);
    for (const std::string* name : {&layer.attention_norm, &layer.source_norm, &layer.output_norm}) {
      check.LayerNorm(*name, hidden);
    }
  }
  return check.status();
}

absl::Status CheckTensors(const formats::CausalConfig& config, const Safetensors& tensors) {
  const formats::CausalFamily& family = *config.family;
  const auto has = [&](const std::string& name) { return tensors.Find(name) != nullptr; };
  TensorCheck check(tensors, formats::FindPrefix(family, has));
  const int64_t hidden = config.hidden_size;
  const auto weight = [&](const std::string& name, int64_t out, int64_t in, bool turned) {
    check.Encoder(name + ".weight", turned ? std::vector<int64_t>{in, out} : std::vector<int64_t>{out, in});
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    weight(name, out, in, family.turned);
    check.Encoder(name + ".bias", {out});
  };
  check.Encoder(family.words + ".weight", {config.vocab_size, config.word_size});
  check.Encoder(family.positions + ".weight", {config.max_tokens + config.position_offset, hidden});
  if (config.projects()) {
    weight(family.project_in, hidden, config.word_size, /*turned=*/false);
    weight(family.project_out, config.word_size, hidden, /*turned=*/false);
  }
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const formats::CausalLayerNames layer = family.Layer(i);
    for (const std::string& name : layer.qkv) linear(name, 3 * hidden / static_cast<int64_t>(layer.qkv.size()), hidden);
    linear(layer.attention_output, hidden, hidden);
    linear(layer.intermediate, config.intermediate_size, hidden);
    linear(layer.output, hidden, config.intermediate_size);
    for (const std::string& name : {layer.attention_norm, layer.output_norm}) check.LayerNorm(name, hidden);
  }
  if (config.final_norm) check.LayerNorm(family.final_norm, hidden);
  if (!config.tied || has("lm_head.weight")) check.Expect("lm_head.weight", {config.vocab_size, config.word_size});
  return check.status();
}

v1::Pooling ToProto(formats::Pooling pooling) {
  switch (pooling) {
    case formats::Pooling::kCls:
      return v1::POOLING_CLS;
    case formats::Pooling::kMax:
      return v1::POOLING_MAX;
    case formats::Pooling::kMean:
      break;
  }
  return v1::POOLING_MEAN;
}

internal::v1::BaseRecord RecordOf(const EncoderConfig& config) {
  internal::v1::BaseRecord record;
  v1::Base& base = *record.mutable_base();
  base.set_model_type(config.family->model_type);
  base.set_hidden_size(static_cast<int32_t>(config.vector_size()));
  base.add_tasks(v1::TASK_FEATURE_EXTRACTION);
  if (!config.labels.empty()) {
    base.add_tasks(config.head_kind == formats::HeadKind::kTokens    ? v1::TASK_TOKEN_CLASSIFICATION
                   : config.head_kind == formats::HeadKind::kAnswers ? v1::TASK_QUESTION_ANSWERING
                                                                     : v1::TASK_SEQUENCE_CLASSIFICATION);
  }
  record.mutable_labels()->Assign(config.labels.begin(), config.labels.end());
  record.set_multi_label(config.multi_label);
  record.set_regression(config.regression);
  record.set_pooling(ToProto(config.sentence.pooling));
  record.set_normalize(config.sentence.normalize);
  return record;
}

// A base that writes: T5Config or BartConfig.
template <typename Config>
internal::v1::BaseRecord RecordOf(const Config& config) {
  internal::v1::BaseRecord record;
  v1::Base& base = *record.mutable_base();
  base.set_model_type(config.model_type);
  base.set_hidden_size(static_cast<int32_t>(config.d_model));
  base.add_tasks(v1::TASK_SEQ2SEQ);
  return record;
}

internal::v1::BaseRecord RecordOf(const formats::CausalConfig& config) {
  internal::v1::BaseRecord record;
  v1::Base& base = *record.mutable_base();
  base.set_model_type(config.family->model_type);
  base.set_hidden_size(static_cast<int32_t>(config.hidden_size));
  base.add_tasks(v1::TASK_CAUSAL_LM);
  return record;
}

}  // namespace

absl::StatusOr<internal::v1::BaseRecord> InspectBase(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const formats::BaseConfig config, formats::ReadBaseConfig(folder));
  ASSIGN_OR_RETURN(const auto tensors, Safetensors::OpenModel(folder, Safetensors::Limits()));
  RETURN_IF_ERROR(std::visit([&](const auto& family) { return CheckTensors(family, *tensors); }, config));
  return std::visit([](const auto& family) { return RecordOf(family); }, config);
}

}  // namespace tenon::server
