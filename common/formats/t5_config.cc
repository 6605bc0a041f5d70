#include "common/formats/t5_config.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/config_json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

// Of T5's forms the one that writes.
void CheckForm(JsonFields& fields) {
  if (!fields.Bool("is_encoder_decoder", true)) fields.Unsupported("is_encoder_decoder", "is false: half a T5");
  // The library's other heads on a T5; T5WithLMHeadModel is an old name of the one that writes.
  for (const std::string& name : fields.Strings("architectures")) {
    if (name != "T5ForConditionalGeneration" && name != "T5WithLMHeadModel" && name != "T5Model") {
      fields.Unsupported("architectures",
                         absl::StrCat("has \"", name, "\", which is not supported; T5ForConditionalGeneration is"));
    }
  }
}

void ReadSizes(JsonFields& fields, T5Config& config) {
  // Missing keys have the values of transformers' T5Config.
  config.vocab_size = fields.Int("vocab_size", 32128, 1, 10'000'000);
  config.d_model = fields.Int("d_model", 512, 1, 65'536);
  config.d_kv = fields.Int("d_kv", 64, 1, 1'024);
  config.d_ff = fields.Int("d_ff", 2048, 1, 1'000'000);
  config.num_layers = fields.Int("num_layers", 6, 1, 1'000);
  config.num_decoder_layers = fields.Int("num_decoder_layers", config.num_layers, 1, 1'000);
  config.num_heads = fields.Int("num_heads", 8, 1, 1'024);
  config.relative_attention_num_buckets = fields.Int("relative_attention_num_buckets", 32, 4, 4'096);
  config.relative_attention_max_distance = fields.Int("relative_attention_max_distance", 128, 2, 65'536);
  // Half of a decoder's buckets are single distances; the others grow from there to the largest.
  if (config.relative_attention_max_distance <= config.relative_attention_num_buckets / 2) {
    fields.Fail("relative_attention_max_distance",
                absl::StrCat("is ", config.relative_attention_max_distance, ", no more than half of the ",
                             config.relative_attention_num_buckets, " buckets"));
  }
  config.layer_norm_epsilon = fields.Real("layer_norm_epsilon", 1e-6, 0, 1);
  config.dropout_rate = fields.Real("dropout_rate", 0.1, 0, 1);
  config.pad_token_id = fields.Int("pad_token_id", 0, 0, config.vocab_size - 1);
  config.decoder_start_token_id = fields.Int("decoder_start_token_id", config.pad_token_id, 0, config.vocab_size - 1);
}

void ReadFeedForward(JsonFields& fields, T5Config& config) {
  const std::string kind = fields.String("feed_forward_proj", "relu");
  config.gated = kind == "gated-gelu";
  config.activation = config.gated ? "gelu_new" : "relu";
  if (kind != "relu" && kind != "gated-gelu") {
    fields.Unsupported("feed_forward_proj", absl::StrCat("\"", kind, "\" is not supported; relu and gated-gelu are"));
  }
  // What transformers derives from it, and writes beside it.
  const std::string activation = fields.String("dense_act_fn", config.activation);
  if (activation != config.activation) {
    fields.Unsupported("dense_act_fn", absl::StrCat("\"", activation, "\" beside feed_forward_proj \"", kind, "\""));
  }
  if (fields.Bool("is_gated_act", config.gated) != config.gated) {
    fields.Unsupported("is_gated_act", absl::StrCat("contradicts feed_forward_proj \"", kind, "\""));
  }
}

}  // namespace

absl::StatusOr<T5Config> ReadT5Config(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ReadConfigJson(folder));
  JsonFields fields(json, kConfigFile, Reason::kBaseInvalid);
  T5Config config;
  config.model_type = "t5";
  if (const std::string type = fields.String("model_type", "t5"); type != "t5") {
    fields.Unsupported("model_type", absl::StrCat("\"", type, "\" is not supported; t5 is"));
  }
  RefuseUnsupported(fields, {"quantization_config", "pruned_heads"});
  CheckForm(fields);
  ReadSizes(fields, config);
  ReadFeedForward(fields, config);
  config.tied = fields.Bool("tie_word_embeddings", true);
  config.scale_outputs = fields.Bool("scale_decoder_outputs", config.tied);
  config.summary_prefix = SummaryPrefix(fields, "summarize: ");
  RETURN_IF_ERROR(fields.status());
  return config;
}

}  // namespace tenon::formats
