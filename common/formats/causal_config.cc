#include "common/formats/causal_config.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/formats/config_json.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

const std::vector<CausalFamily>& Families() {
  static const auto* families = new std::vector<CausalFamily>{Gpt2Family(), OptFamily()};
  return *families;
}

// The library's other heads on the same decoder have weights that nobody here would read.
void CheckArchitectures(JsonFields& fields, const CausalFamily& family) {
  for (const std::string& name : fields.Strings("architectures")) {
    if (name != family.model_class && name != family.plain_class) {
      fields.Unsupported("architectures",
                         absl::StrCat("has \"", name, "\", which is not supported; ", family.model_class, " is"));
    }
  }
}

}  // namespace

CausalLayerNames CausalFamily::Layer(int64_t index) const {
  const std::string prefix = absl::StrCat(layer_prefix, index, ".");
  CausalLayerNames names = layer;
  for (std::string& name : names.qkv) name = prefix + name;
  for (std::string* name :
       {&names.attention_output, &names.attention_norm, &names.intermediate, &names.output, &names.output_norm}) {
    *name = prefix + *name;
  }
  return names;
}

const CausalFamily* FindCausalFamily(const std::string& model_type) {
  const auto found = std::find_if(Families().begin(), Families().end(),
                                  [&](const CausalFamily& family) { return family.model_type == model_type; });
  return found == Families().end() ? nullptr : &*found;
}

absl::StatusOr<CausalConfig> ReadCausalConfig(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ReadConfigJson(folder));
  JsonFields fields(json, kConfigFile, Reason::kBaseInvalid);
  CausalConfig config;
  const std::string type = fields.String("model_type", "");
  config.family = FindCausalFamily(type);
  if (config.family == nullptr) {
    fields.Unsupported("model_type", absl::StrCat("\"", type, "\" is no decoder-only model that is supported"));
    return fields.status();
  }
  RefuseUnsupported(fields, {"quantization_config", "pruned_heads", "is_encoder_decoder", "add_cross_attention"});
  CheckArchitectures(fields, *config.family);
  config.tied = fields.Bool("tie_word_embeddings", true);
  config.family->read(fields, config);
  RETURN_IF_ERROR(fields.status());
  return config;
}

std::string FindPrefix(const CausalFamily& family, const std::function<bool(const std::string& name)>& has) {
  const bool plain =
      !has(family.task_prefix + family.words + ".weight") && has(family.plain_prefix + family.words + ".weight");
  return plain ? family.plain_prefix : family.task_prefix;
}

void CheckCausalSizes(JsonFields& fields, const std::string& hidden_key, const std::string& heads_key,
                      const CausalConfig& config) {
  if (config.num_heads > 0 && config.hidden_size % config.num_heads != 0) {
    fields.Fail(hidden_key, absl::StrCat("is ", config.hidden_size, ", which ", heads_key, " ", config.num_heads,
                                         " does not divide"));
  }
}

std::string ReadCausalActivation(JsonFields& fields, const std::string& key, const std::string& otherwise) {
  std::string name = fields.String(key, otherwise);
  if (name != "gelu" && name != "gelu_new" && name != "relu") {
    fields.Unsupported(key, absl::StrCat("\"", name, "\" is not supported; gelu, gelu_new and relu are"));
  }
  return name;
}

}  // namespace tenon::formats
