#include "common/formats/bart_config.h"

#include <tuple>

#include "absl/strings/str_cat.h"
#include "common/formats/config_json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

// Of BART's forms the one that writes.
void CheckForm(JsonFields& fields) {
  if (!fields.Bool("is_encoder_decoder", true)) fields.Unsupported("is_encoder_decoder", "is false: half a BART");
  for (const std::string& name : fields.Strings("architectures")) {
    if (name != "BartForConditionalGeneration" && name != "BartModel") {
      fields.Unsupported("architectures",
                         absl::StrCat("has \"", name, "\", which is not supported; BartForConditionalGeneration is"));
    }
  }
  // Keys of configurations from before mBART and its kin were models of their own: they tell of other networks.
  RefuseUnsupported(fields, {"quantization_config", "pruned_heads", "normalize_before", "add_final_layer_norm",
                             "static_position_embeddings"});
  if (!fields.Bool("normalize_embedding", true)) {
    fields.Unsupported("normalize_embedding", "is false, which is not supported");
  }
}

int64_t Heads(JsonFields& fields, const char* key, int64_t d_model) {
  const int64_t heads = fields.Int(key, 16, 1, 1'024);
  if (d_model % heads != 0) {
    fields.Fail(key, absl::StrCat("is ", heads, ", which does not divide d_model, ", d_model));
  }
  return heads;
}

void ReadSizes(JsonFields& fields, BartConfig& config) {
  // Missing keys have the values of transformers' BartConfig.
  config.vocab_size = fields.Int("vocab_size", 50265, 1, 10'000'000);
  config.d_model = fields.Int("d_model", 1024, 1, 65'536);
  config.encoder_layers = fields.Int("encoder_layers", 12, 1, 1'000);
  config.decoder_layers = fields.Int("decoder_layers", 12, 1, 1'000);
  config.encoder_heads = Heads(fields, "encoder_attention_heads", config.d_model);
  config.decoder_heads = Heads(fields, "decoder_attention_heads", config.d_model);
  config.encoder_ffn_dim = fields.Int("encoder_ffn_dim", 4096, 1, 1'000'000);
  config.decoder_ffn_dim = fields.Int("decoder_ffn_dim", 4096, 1, 1'000'000);
  // At least <s>, a word and </s>.
  config.max_positions = fields.Int("max_position_embeddings", 1024, 3, 1'000'000);
  // What transformers calls two of them elsewhere, and writes beside them.
  for (const auto& [other, key, value] : {std::tuple("hidden_size", "d_model", config.d_model),
                                          std::tuple("num_hidden_layers", "encoder_layers", config.encoder_layers)}) {
    if (fields.Int(other, value, 1, 1'000'000) != value) {
      fields.Unsupported(other, absl::StrCat("contradicts ", key, ", ", value));
    }
  }
  config.decoder_start_token_id = fields.Int("decoder_start_token_id", 2, 0, config.vocab_size - 1);
}

std::string ReadActivation(JsonFields& fields) {
  const std::string name = fields.String("activation_function", "gelu");
  if (name != "gelu" && name != "gelu_new" && name != "relu") {
    fields.Unsupported("activation_function",
                       absl::StrCat("\"", name, "\" is not supported; gelu, gelu_new and relu are"));
  }
  return name;
}

EncoderFamily DescribeEncoder() {
  EncoderFamily family;
  family.model_type = "bart";
  family.embeddings = {.words = kBartEmbeddings[0],
                       .positions = "encoder.embed_positions",
                       .types = "",
                       .norm = "encoder.layernorm_embedding"};
  family.layer_prefix = "encoder.layers.";
  family.layer = {.query = "self_attn.q_proj",
                  .key = "self_attn.k_proj",
                  .value = "self_attn.v_proj",
                  .attention_output = "self_attn.out_proj",
                  .attention_norm = "self_attn_layer_norm",
                  .intermediate = "fc1",
                  .output = "fc2",
                  .output_norm = "final_layer_norm"};
  return family;
}

}  // namespace

int64_t BartConfig::position_rows() const { return max_positions + kBartPositionOffset; }

absl::StatusOr<BartConfig> ReadBartConfig(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ReadConfigJson(folder));
  JsonFields fields(json, kConfigFile, Reason::kBaseInvalid);
  BartConfig config;
  config.model_type = "bart";
  if (const std::string type = fields.String("model_type", "bart"); type != "bart") {
    fields.Unsupported("model_type", absl::StrCat("\"", type, "\" is not supported; bart is"));
  }
  CheckForm(fields);
  ReadSizes(fields, config);
  config.activation = ReadActivation(fields);
  config.scale_embedding = fields.Bool("scale_embedding", false);
  // Both stacks would have embeddings of their own, too.
  if (!fields.Bool("tie_word_embeddings", true)) {
    fields.Unsupported("tie_word_embeddings", "is false, which is not supported");
  }
  config.summary_prefix = SummaryPrefix(fields, "");
  RETURN_IF_ERROR(fields.status());
  return config;
}

const EncoderFamily& BartEncoderFamily() {
  static const auto* family = new EncoderFamily(DescribeEncoder());
  return *family;
}

EncoderConfig BartEncoderConfig(const BartConfig& config) {
  EncoderConfig encoder;
  encoder.family = &BartEncoderFamily();
  encoder.vocab_size = config.vocab_size;
  encoder.hidden_size = config.d_model;
  encoder.num_hidden_layers = config.encoder_layers;
  encoder.num_attention_heads = config.encoder_heads;
  encoder.intermediate_size = config.encoder_ffn_dim;
  encoder.max_position_embeddings = config.position_rows();
  encoder.position_offset = kBartPositionOffset;
  encoder.layer_norm_eps = kBartNormEps;
  encoder.hidden_act = config.activation;
  encoder.scales_words = config.scale_embedding;
  return encoder;
}

BartDecoderNames BartDecoderLayer(int64_t index) {
  BartDecoderNames names{.query = "self_attn.q_proj",
                         .key = "self_attn.k_proj",
                         .value = "self_attn.v_proj",
                         .attention_output = "self_attn.out_proj",
                         .attention_norm = "self_attn_layer_norm",
                         .source_query = "encoder_attn.q_proj",
                         .source_key = "encoder_attn.k_proj",
                         .source_value = "encoder_attn.v_proj",
                         .source_output = "encoder_attn.out_proj",
                         .source_norm = "encoder_attn_layer_norm",
                         .intermediate = "fc1",
                         .output = "fc2",
                         .output_norm = "final_layer_norm"};
  for (std::string* name : {&names.query, &names.key, &names.value, &names.attention_output, &names.attention_norm,
                            &names.source_query, &names.source_key, &names.source_value, &names.source_output,
                            &names.source_norm, &names.intermediate, &names.output, &names.output_norm}) {
    *name = absl::StrCat("decoder.layers.", index, ".", *name);
  }
  return names;
}

std::string BartPrefix(const std::function<bool(const std::string& name)>& has) {
  return has(absl::StrCat(kBartTaskPrefix, kBartDecoderPositions, ".weight")) ? kBartTaskPrefix : "";
}

}  // namespace tenon::formats
