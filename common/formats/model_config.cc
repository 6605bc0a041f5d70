#include "common/formats/model_config.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/formats/config_json.h"
#include "common/formats/json_fields.h"
#include "common/formats/sentence_config.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

void CheckPositions(JsonFields& fields) {
  const std::string positions = fields.String("position_embedding_type", "absolute");
  if (positions != "absolute") {
    fields.Unsupported("position_embedding_type", absl::StrCat("\"", positions, "\" is not supported; absolute is"));
  }
}

void ReadSizes(JsonFields& fields, BertConfig& config) {
  // Missing keys have the values of transformers' BertConfig. The upper bounds only keep later products far from
  // overflow.
  config.vocab_size = fields.Int("vocab_size", 30522, 1, 10'000'000);
  config.hidden_size = fields.Int("hidden_size", 768, 1, 65'536);
  config.num_hidden_layers = fields.Int("num_hidden_layers", 12, 1, 1'000);
  config.num_attention_heads = fields.Int("num_attention_heads", 12, 1, 1'024);
  config.intermediate_size = fields.Int("intermediate_size", 3072, 1, 1'000'000);
  config.max_position_embeddings = fields.Int("max_position_embeddings", 512, 3, 1'000'000);
  config.type_vocab_size = fields.Int("type_vocab_size", 2, 1, 1'000);
  config.pad_token_id = fields.Int("pad_token_id", 0, 0, config.vocab_size - 1);
  if (config.hidden_size % config.num_attention_heads != 0) {
    fields.Fail("hidden_size", absl::StrCat("is ", config.hidden_size, ", which ", config.num_attention_heads,
                                            " attention heads do not divide"));
  }
}

void ReadNumbers(JsonFields& fields, BertConfig& config) {
  config.layer_norm_eps = fields.Real("layer_norm_eps", 1e-12, 0, 1);
  config.hidden_dropout_prob = fields.Real("hidden_dropout_prob", 0.1, 0, 1);
  config.attention_probs_dropout_prob = fields.Real("attention_probs_dropout_prob", 0.1, 0, 1);
  config.classifier_dropout = fields.Real("classifier_dropout", -1, 0, 1);
  config.initializer_range = fields.Real("initializer_range", 0.02, 0, 1);
  config.hidden_act = fields.String("hidden_act", "gelu");
  if (config.hidden_act != "gelu" && config.hidden_act != "gelu_new" && config.hidden_act != "relu") {
    fields.Unsupported("hidden_act",
                       absl::StrCat("\"", config.hidden_act, "\" is not supported; gelu, gelu_new and relu are"));
  }
}

// Labels of the base's own head. A regression head (one output) is left out: Classify has no use for it. One label of
// several that may all be off is a head.
void ReadLabels(JsonFields& fields, BertConfig& config) {
  config.architectures = fields.Strings("architectures");
  const auto& names = config.architectures;
  if (std::find(names.begin(), names.end(), "BertForSequenceClassification") == names.end()) return;
  const std::string problem = fields.String("problem_type", "");
  config.multi_label = problem == "multi_label_classification";
  const nlohmann::json* labels = fields.Get("id2label");
  std::vector<std::string> in_order;
  if (labels == nullptr) {
    const int64_t count = fields.Int("num_labels", 2, 1, 1'000'000);
    for (int64_t i = 0; i < count; ++i) in_order.push_back(absl::StrCat("LABEL_", i));
  } else if (!labels->is_object()) {
    fields.Fail("id2label", "must be an object");
  } else {
    for (size_t i = 0; i < labels->size(); ++i) {
      const auto it = labels->find(absl::StrCat(i));
      if (it == labels->end() || !it->is_string()) {
        fields.Fail("id2label", absl::StrCat("has no label for ", i, "; its keys must be 0, 1, 2, ..."));
        return;
      }
      in_order.push_back(it->get<std::string>());
    }
  }
  std::vector<std::string> sorted = in_order;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) fields.Fail("id2label", absl::StrCat("has the label \"", *twice, "\" twice"));
  if (problem != "regression" && (in_order.size() > 1 || config.multi_label)) config.labels = std::move(in_order);
}

}  // namespace

absl::StatusOr<BertConfig> ReadBertConfig(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ReadConfigJson(folder));
  JsonFields fields(json, kConfigFile, Reason::kBaseInvalid);
  BertConfig config;
  config.model_type = "bert";
  RefuseUnsupported(fields, "bert",
                    {"is_decoder", "add_cross_attention", "is_encoder_decoder", "pruned_heads", "quantization_config",
                     "chunk_size_feed_forward"});
  CheckPositions(fields);
  ReadSizes(fields, config);
  ReadNumbers(fields, config);
  ReadLabels(fields, config);
  RETURN_IF_ERROR(fields.status());
  ASSIGN_OR_RETURN(config.sentence, ReadSentenceConfig(folder));
  if (config.sentence.max_seq_length > config.max_position_embeddings) {
    return TenonError(Reason::kBaseInvalid,
                      absl::StrCat("sentence_bert_config.json: max_seq_length is ", config.sentence.max_seq_length,
                                   ", more than the ", config.max_position_embeddings, " positions of config.json"),
                      "max_seq_length");
  }
  return config;
}

}  // namespace tenon::formats
