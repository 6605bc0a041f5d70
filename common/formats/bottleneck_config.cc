#include "common/formats/bottleneck_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/formats/families/families.h"
#include "common/formats/json_fields.h"
#include "common/formats/peft_config.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr char kFile[] = "adapter_config.json";
constexpr double kLeastFactor = 1.0 / 64, kMostFactor = 1 << 20;
constexpr const char* kFactorRange = "from 1/64 to 1048576";

constexpr char kBert[] = "bert", kT5[] = "t5";

// Families that AdapterHub's library has blocks for.
std::vector<std::string> ModelTypes() {
  std::vector<std::string> types;
  for (const EncoderFamily& family : EncoderFamilies()) {
    if (family.in_adapter_hub) types.push_back(family.model_type);
  }
  types.push_back(kT5);
  return types;
}

nlohmann::json SizeOrNull(int64_t size) { return size == 0 ? nlohmann::json(nullptr) : nlohmann::json(size); }

// The block's own settings: what must be off, and what is read only together with something that must be off.
void RefuseUnsupported(const nlohmann::json& config, JsonFields& fields) {
  static const auto* known = new std::set<std::string>{"mh_adapter",
                                                       "output_adapter",
                                                       "cross_adapter",
                                                       "original_ln_before",
                                                       "original_ln_after",
                                                       "residual_before_ln",
                                                       "is_parallel",
                                                       "reduction_factor",
                                                       "non_linearity",
                                                       "scaling",
                                                       "dropout",
                                                       "init_weights",
                                                       "init_weights_seed",
                                                       "inv_adapter_reduction_factor",
                                                       "phm_dim",
                                                       "factorized_phm_W",
                                                       "shared_W_phm",
                                                       "shared_phm_rule",
                                                       "factorized_phm_rule",
                                                       "phm_c_init",
                                                       "phm_init_range",
                                                       "learn_phm",
                                                       "hypercomplex_nonlinearity",
                                                       "phm_rank",
                                                       "phm_bias"};
  RefuseOtherKeys(config, *known, fields);
  const nlohmann::json* factor = fields.Get("reduction_factor");
  if (factor != nullptr && factor->is_object()) {
    fields.Unsupported("reduction_factor", "differs from layer to layer, which is not supported");
  }
  const nlohmann::json* scaling = fields.Get("scaling");
  if (scaling != nullptr && scaling->is_string()) {
    fields.Unsupported("scaling", absl::StrCat("is ", Shown(*scaling), "; a number is supported"));
  }
  if (!fields.Bool("original_ln_after", true)) fields.Unsupported("original_ln_after", "is false");
}

void ReadBlock(const nlohmann::json& object, BottleneckConfig& config, JsonFields& fields) {
  RefuseUnsupported(object, fields);
  for (const char* key : {"mh_adapter", "output_adapter", "reduction_factor", "non_linearity"}) {
    if (fields.Get(key) == nullptr) fields.Fail(key, "is missing");
  }
  config.after_attention = fields.Bool("mh_adapter", false);
  config.after_feed_forward = fields.Bool("output_adapter", false);
  config.reads_norm = fields.Bool("original_ln_before", false);
  config.parallel = fields.Bool("is_parallel", false);
  config.after_cross_attention = fields.Bool("cross_adapter", false);
  if (config.after_cross_attention && config.model_type != kT5) {
    fields.Unsupported("cross_adapter", "is true; a model without a decoder has no cross-attention");
  }
  config.reduction_factor = fields.Real("reduction_factor", 16, kLeastFactor, kMostFactor);
  config.scaling = fields.Real("scaling", 1, -1e9, 1e9);
  config.dropout = fields.Real("dropout", 0, 0, 1);
  config.non_linearity = fields.String("non_linearity", "");
  if (!fields.status().ok()) return;
  if (!ParseNonLinearity(config.non_linearity).ok()) {
    fields.Unsupported("non_linearity", absl::StrCat("\"", config.non_linearity, "\" is not supported"));
  }
  if (!config.after_attention && !config.after_feed_forward && !config.after_cross_attention) {
    fields.Fail("output_adapter", "and mh_adapter are false");
  }
  // Only there does it matter whether the block's own residual is taken before the norm or behind it.
  const nlohmann::json* residual = fields.Get("residual_before_ln");
  if (config.reads_norm && !config.parallel && residual != nullptr && *residual != true) {
    fields.Unsupported("residual_before_ln", absl::StrCat("is ", Shown(*residual), "; true is supported"));
  }
}

}  // namespace

absl::StatusOr<BottleneckConfig> ParseBottleneckConfig(const std::string& text) {
  ASSIGN_OR_RETURN(const nlohmann::json object, ParsePeftObject(text));
  JsonFields fields(object, kFile, Reason::kAdapterInvalid);
  static const auto* known =
      new std::set<std::string>{"config", "hidden_size", "model_class", "model_name", "model_type", "name", "version"};
  RefuseOtherKeys(object, *known, fields);
  BottleneckConfig config;
  config.hidden_size = fields.Int("hidden_size", 0, 1, 1 << 20);
  config.name = fields.String("name", "");
  config.model_class = fields.String("model_class", "");
  config.model_name = fields.String("model_name", "");
  if (config.name.empty() || config.name.find('.') != std::string::npos) {
    fields.Fail("name", "must be a word without a full stop");
  }
  config.model_type = fields.String("model_type", kBert);
  if (const auto types = ModelTypes(); std::find(types.begin(), types.end(), config.model_type) == types.end()) {
    fields.Unsupported("model_type", absl::StrCat("\"", config.model_type, "\" is not supported; ",
                                                  absl::StrJoin(types, ", "), " are"));
  }
  const nlohmann::json* block = fields.Get("config");
  if (block == nullptr || !block->is_object()) {
    fields.Fail("config", "must be an object");
    return fields.status();
  }
  RETURN_IF_ERROR(fields.status());
  JsonFields block_fields(*block, absl::StrCat(kFile, ": config"), Reason::kAdapterInvalid);
  const std::string architecture = block_fields.String("architecture", "");
  if (!architecture.empty()) {
    block_fields.Unsupported("architecture", absl::StrCat("\"", architecture, "\" is not supported; a bottleneck is"));
  }
  ReadBlock(*block, config, block_fields);
  RETURN_IF_ERROR(block_fields.status());
  return config;
}

std::string WriteBottleneckConfig(const BottleneckConfig& config) {
  nlohmann::json block = {{"mh_adapter", config.after_attention},
                          {"output_adapter", config.after_feed_forward},
                          {"original_ln_before", config.reads_norm},
                          {"original_ln_after", true},
                          {"residual_before_ln", true},
                          {"adapter_residual_before_ln", false},
                          {"ln_before", false},
                          {"ln_after", false},
                          {"is_parallel", config.parallel},
                          {"reduction_factor", config.reduction_factor},
                          {"non_linearity", config.non_linearity},
                          {"scaling", config.scaling},
                          {"dropout", config.dropout},
                          {"init_weights", "bert"},
                          {"leave_out", nlohmann::json::array()}};
  if (config.model_type == kT5) block["cross_adapter"] = config.after_cross_attention;
  return PeftText({{"config", block},
                   {"hidden_size", SizeOrNull(config.hidden_size)},
                   {"model_class", config.model_class},
                   {"model_name", config.model_name},
                   {"model_type", config.model_type},
                   {"name", config.name},
                   // The library whose layout this is: without one it reads names of the activations of before.
                   {"version", "adapters.1.3.0"}});
}

absl::StatusOr<std::vector<std::string>> ParseHeadConfig(const std::string& text) {
  constexpr char kHeadFile[] = "head_config.json";
  constexpr int64_t kMaxLabels = 10'000;
  const auto object = ParsePeftObject(text);
  if (!object.ok()) return TenonError(Reason::kAdapterInvalid, "head_config.json is no object", kHeadFile);
  JsonFields fields(*object, kHeadFile, Reason::kAdapterInvalid);
  if (const nlohmann::json* config = fields.Get("config"); config != nullptr) {
    fields.Unsupported("config",
                       "is of a flexible head; those of transformers' sequence classifiers and "
                       "T5ForConditionalGeneration are supported");
  }
  const int64_t count = fields.Int("num_labels", 0, 1, kMaxLabels);
  std::vector<std::string> labels(static_cast<size_t>(count));
  const nlohmann::json* ids = fields.Get("label2id");
  if (ids == nullptr || !ids->is_object() || static_cast<int64_t>(ids->size()) != count) {
    fields.Fail("label2id", "must name as many labels as num_labels says");
    return fields.status();
  }
  for (const auto& [label, id] : ids->items()) {
    const bool good = id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < count &&
                      labels[static_cast<size_t>(id.get<int64_t>())].empty() && !label.empty();
    if (good) labels[static_cast<size_t>(id.get<int64_t>())] = label;
    if (!good) fields.Fail("label2id", absl::StrCat("gives \"", label, "\" no number of its own"));
  }
  RETURN_IF_ERROR(fields.status());
  return labels;
}

std::string WriteHeadConfig(const BottleneckConfig& config, const std::vector<std::string>& labels) {
  nlohmann::json ids = nlohmann::json::object();
  for (size_t i = 0; i < labels.size(); ++i) ids[labels[i]] = i;
  return PeftText({{"config", nullptr},
                   {"hidden_size", SizeOrNull(config.hidden_size)},
                   {"label2id", ids},
                   {"model_class", config.model_class},
                   {"model_name", config.model_name},
                   {"model_type", config.model_type},
                   {"name", nullptr},
                   {"num_labels", labels.size()},
                   {"version", "adapters.1.3.0"}});
}

BottleneckConfig LayoutConfig(BottleneckLayout layout) {
  BottleneckConfig config;  // seq_bn
  if (layout == BottleneckLayout::kDoubleSeqBn) {
    config.after_attention = true;
    config.reads_norm = false;
    config.non_linearity = "swish";
  } else if (layout == BottleneckLayout::kParBn) {
    config.reads_norm = false;
    config.parallel = true;
    config.reduction_factor = 2;
    config.scaling = 4;
  }
  return config;
}

absl::StatusOr<BottleneckLayout> ParseLayout(const std::string& name) {
  if (name == "seq_bn") return BottleneckLayout::kSeqBn;
  if (name == "double_seq_bn") return BottleneckLayout::kDoubleSeqBn;
  if (name == "par_bn") return BottleneckLayout::kParBn;
  return TenonError(Reason::kOptionInvalid,
                    absl::StrCat("layout is \"", name, "\"; it must be seq_bn, double_seq_bn or par_bn"), "layout");
}

absl::StatusOr<NonLinearity> ParseNonLinearity(const std::string& name) {
  if (name == "relu") return NonLinearity::kRelu;
  if (name == "gelu") return NonLinearity::kGelu;
  if (name == "gelu_new") return NonLinearity::kGeluTanh;
  if (name == "swish" || name == "silu") return NonLinearity::kSilu;
  if (name == "tanh") return NonLinearity::kTanh;
  return TenonError(
      Reason::kOptionInvalid,
      absl::StrCat("non_linearity is \"", name, "\"; it must be relu, gelu, gelu_new, swish, silu or tanh"),
      "non_linearity");
}

absl::Status CheckBottleneckOptions(const BottleneckConfig& config) {
  if (!(config.reduction_factor >= kLeastFactor && config.reduction_factor <= kMostFactor)) {
    return TenonError(Reason::kOptionInvalid,
                      absl::StrCat("reduction_factor is ", config.reduction_factor, "; it must be ", kFactorRange),
                      "reduction_factor");
  }
  return ParseNonLinearity(config.non_linearity).status();
}

int64_t BottleneckWidth(const BottleneckConfig& config, int64_t hidden) {
  // The remainder is exact where a quotient would be rounded: 32 // 0.1 is 319.
  const double size = static_cast<double>(hidden), rest = std::fmod(size, config.reduction_factor);
  const auto width = static_cast<int64_t>(std::llround((size - rest) / config.reduction_factor));
  return width < 1 ? 1 : width;
}

}  // namespace tenon::formats
