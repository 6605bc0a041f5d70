#include "worker/engine/adapter/read_prompt.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/adapter/read_head.h"
#include "worker/engine/adapter/write.h"

namespace tenon::engine {
namespace {

// [CLS], a word and [SEP].
constexpr int64_t kLeastText = 3;
// A token of a prompt, and one behind it.
constexpr int64_t kLeastWritten = 2;

absl::Status CheckSize(const char* key, int64_t value, int64_t base) {
  if (value == 0 || value == base) return absl::OkStatus();
  return InvalidAdapter(absl::StrCat("adapter_config.json: ", key, " is ", value, ", the base has ", base), key);
}

// Layers and heads of the base, as PEFT counts them.
std::pair<int64_t, int64_t> LayersAndHeads(const AdapterSite& site) {
  if (site.writer != nullptr) return {site.writer->num_layers, site.writer->num_heads};
  if (site.bart != nullptr) return {site.bart->encoder_layers, site.bart->encoder_heads};
  if (site.causal != nullptr) return {site.causal->num_layers, site.causal->num_heads};
  return {site.encoder->num_hidden_layers, site.encoder->num_attention_heads};
}

// The base's shape, as far as the file says it.
absl::Status CheckShape(const formats::PromptConfig& config, const AdapterSite& site) {
  const auto [layers, heads] = LayersAndHeads(site);
  RETURN_IF_ERROR(CheckSize("token_dim", config.token_dim, site.hidden_size));
  RETURN_IF_ERROR(CheckSize("num_layers", config.num_layers, layers));
  return CheckSize("num_attention_heads", config.num_attention_heads, heads);
}

// Tokens that a row may have; nothing where any number is fine.
std::optional<int64_t> MaxTokens(const AdapterSite& site) {
  if (site.writer != nullptr) return std::nullopt;
  if (site.causal != nullptr) return site.causal->max_tokens;
  return site.bart != nullptr ? site.bart->max_positions : site.encoder->max_tokens();
}

}  // namespace

absl::StatusOr<AdapterTensors> ReadPrompt(AdapterFile& file, const formats::PromptConfig& config,
                                          const AdapterSite& site) {
  if ((config.task_type == "SEQ_2_SEQ_LM") != (site.writer != nullptr || site.bart != nullptr)) {
    return InvalidAdapter(
        absl::StrCat("adapter_config.json: task_type is ", config.task_type, ", which the base does not do"),
        "task_type");
  }
  RETURN_IF_ERROR(CheckShape(config, site));
  const std::optional<int64_t> most = MaxTokens(site);
  const int64_t least = site.causal != nullptr ? kLeastWritten : kLeastText;
  if (most.has_value() && config.num_virtual_tokens > *most - least) {
    return InvalidAdapter(absl::StrCat("num_virtual_tokens is ", config.num_virtual_tokens, "; of the base's ", *most,
                                       " positions a text needs ", least),
                          "num_virtual_tokens");
  }
  AdapterTensors adapter;
  adapter.prompt = config;
  const int64_t count = config.num_virtual_tokens, rows = formats::PromptRows(config);
  ASSIGN_OR_RETURN(const at::Tensor read, file.Take(kPromptTensor, {rows, site.hidden_size}));
  adapter.prompt_embeddings = read.narrow(0, 0, count);
  if (rows > count) adapter.unread_prompt = read.narrow(0, count, rows - count);
  if (formats::IsPeftHeadTask(config.task_type)) {
    RETURN_IF_ERROR(TakeHead(file, kPromptHeadRoot, -1, site, adapter));
  }
  return adapter;
}

}  // namespace tenon::engine
