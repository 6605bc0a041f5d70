#include "common/formats/model_config.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/formats/config_json.h"
#include "common/formats/encoder_family.h"
#include "common/formats/families/families.h"
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

void ReadSizes(JsonFields& fields, EncoderConfig& config) {
  const EncoderKeys& keys = config.family->keys;
  const auto read = [&](const std::string& key, int64_t& value, int64_t low, int64_t high) {
    if (!key.empty()) value = fields.Int(key, value, low, high);
  };
  // The upper bounds only keep later products far from overflow.
  read("vocab_size", config.vocab_size, 1, 10'000'000);
  read(keys.hidden_size, config.hidden_size, 1, 65'536);
  read(keys.layers, config.num_hidden_layers, 1, 1'000);
  read(keys.heads, config.num_attention_heads, 1, 1'024);
  read(keys.intermediate_size, config.intermediate_size, 1, 1'000'000);
  read("max_position_embeddings", config.max_position_embeddings, 3, 1'000'000);
  read(keys.type_vocab_size, config.type_vocab_size, 1, 1'000);
  read("pad_token_id", config.pad_token_id, 0, config.vocab_size - 1);
  if (config.hidden_size % config.num_attention_heads != 0) {
    fields.Fail(keys.hidden_size, absl::StrCat("is ", config.hidden_size, ", which ", config.num_attention_heads,
                                               " attention heads do not divide"));
  }
}

void ReadNumbers(JsonFields& fields, EncoderConfig& config) {
  const EncoderKeys& keys = config.family->keys;
  const auto read = [&](const std::string& key, double& value) {
    if (!key.empty()) value = fields.Real(key, value, 0, 1);
  };
  read(keys.layer_norm_eps, config.layer_norm_eps);
  read(keys.hidden_dropout, config.hidden_dropout_prob);
  read(keys.attention_dropout, config.attention_probs_dropout_prob);
  read(keys.classifier_dropout, config.classifier_dropout);
  read("initializer_range", config.initializer_range);
  config.hidden_act = fields.String(keys.activation, config.hidden_act);
  if (config.hidden_act != "gelu" && config.hidden_act != "gelu_new" && config.hidden_act != "relu") {
    fields.Unsupported(keys.activation,
                       absl::StrCat("\"", config.hidden_act, "\" is not supported; gelu, gelu_new and relu are"));
  }
}

// Which head the architectures say that it has.
std::optional<HeadKind> OwnHead(const EncoderConfig& config) {
  const auto& names = config.architectures;
  for (const HeadKind kind : {HeadKind::kSequence, HeadKind::kTokens, HeadKind::kAnswers}) {
    const std::string model = config.family->ModelClass(kind);
    if (!model.empty() && std::find(names.begin(), names.end(), model) != names.end()) return kind;
  }
  return std::nullopt;
}

// Labels of the base's own head. One output is a regression's where nothing else is said, as transformers has it; one
// label of several that may all be off is a head, and one that is always on is none.
void ReadLabels(JsonFields& fields, EncoderConfig& config) {
  config.architectures = fields.Strings("architectures");
  const std::optional<HeadKind> kind = OwnHead(config);
  if (!kind.has_value()) return;
  config.head_kind = *kind;
  const std::string problem = *kind == HeadKind::kSequence ? fields.String("problem_type", "") : "";
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
  if (config.head_kind == HeadKind::kAnswers) {
    if (in_order.size() != AnswerLabels().size()) {
      fields.Fail("id2label", absl::StrCat("has ", in_order.size(), " entries; answers have a start and an end"));
    }
    config.labels = AnswerLabels();
    return;
  }
  const bool one_number = config.head_kind == HeadKind::kSequence && in_order.size() == 1;
  config.regression = problem == "regression" || (problem.empty() && one_number);
  if (config.regression || config.multi_label || in_order.size() > 1) config.labels = std::move(in_order);
}

}  // namespace

bool EncoderConfig::one_type() const { return !family->embeddings.types.empty() && type_vocab_size < 2; }

absl::Status OneTypeError(const std::string& field) {
  return TenonError(Reason::kUnsupported,
                    "the base has one token type (type_vocab_size is 1), and its tokenizer gives the second text of a "
                    "pair another",
                    field);
}

absl::StatusOr<EncoderConfig> ReadEncoderConfig(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ReadConfigJson(folder));
  JsonFields fields(json, kConfigFile, Reason::kBaseInvalid);
  const std::string type = fields.String("model_type", kDefaultModelType);
  const EncoderFamily* family = FindFamily(type);
  if (family == nullptr) {
    fields.Unsupported("model_type", absl::StrCat("\"", type, "\" is not supported; ", SupportedTypes(), " are"));
  }
  RETURN_IF_ERROR(fields.status());
  EncoderConfig config = family->defaults;
  config.family = family;
  RefuseUnsupported(fields, {"is_decoder", "add_cross_attention", "is_encoder_decoder", "pruned_heads",
                             "quantization_config", "chunk_size_feed_forward"});
  CheckPositions(fields);
  ReadSizes(fields, config);
  ReadNumbers(fields, config);
  ReadLabels(fields, config);
  if (family->read_more) family->read_more(fields, config);
  RETURN_IF_ERROR(fields.status());
  ASSIGN_OR_RETURN(config.sentence, ReadSentenceConfig(folder, config.sentence));
  if (config.sentence.max_seq_length > config.max_tokens()) {
    return TenonError(Reason::kBaseInvalid,
                      absl::StrCat("sentence_bert_config.json: max_seq_length is ", config.sentence.max_seq_length,
                                   ", more than the ", config.max_tokens(), " positions of config.json"),
                      "max_seq_length");
  }
  return config;
}

}  // namespace tenon::formats
