#include "worker/engine/adapter/read_prompt.h"

#include <limits>

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

// The base's shape, as far as the file says it.
absl::Status CheckShape(const formats::PromptConfig& config, const AdapterSite& site) {
  const formats::T5Config* writer = site.writer;
  const formats::CausalConfig* causal = site.causal;
  RETURN_IF_ERROR(CheckSize("token_dim", config.token_dim, site.hidden_size));
  RETURN_IF_ERROR(CheckSize("num_layers", config.num_layers,
                            writer != nullptr   ? writer->num_layers
                            : causal != nullptr ? causal->num_layers
                                                : site.encoder->num_hidden_layers));
  return CheckSize("num_attention_heads", config.num_attention_heads,
                   writer != nullptr   ? writer->num_heads
                   : causal != nullptr ? causal->num_heads
                                       : site.encoder->num_attention_heads);
}

}  // namespace

absl::StatusOr<AdapterTensors> ReadPrompt(AdapterFile& file, const formats::PromptConfig& config,
                                          const AdapterSite& site) {
  if ((config.task_type == "SEQ_2_SEQ_LM") != (site.writer != nullptr)) {
    return InvalidAdapter(
        absl::StrCat("adapter_config.json: task_type is ", config.task_type, ", which the base does not do"),
        "task_type");
  }
  RETURN_IF_ERROR(CheckShape(config, site));
  const int64_t positions = site.causal != nullptr    ? site.causal->max_tokens
                            : site.encoder != nullptr ? site.encoder->max_tokens()
                                                      : std::numeric_limits<int64_t>::max();  // a T5's are relative
  const int64_t least = site.causal != nullptr ? kLeastWritten : kLeastText;
  if (config.num_virtual_tokens > positions - least) {
    return InvalidAdapter(absl::StrCat("num_virtual_tokens is ", config.num_virtual_tokens, "; of the base's ",
                                       positions, " positions a text needs ", least),
                          "num_virtual_tokens");
  }
  AdapterTensors adapter;
  adapter.prompt = config;
  const int64_t count = config.num_virtual_tokens, rows = formats::PromptRows(config);
  ASSIGN_OR_RETURN(const at::Tensor read, file.Take(kPromptTensor, {rows, site.hidden_size}));
  adapter.prompt_embeddings = read.narrow(0, 0, count);
  if (rows > count) adapter.unread_prompt = read.narrow(0, count, rows - count);
  if (config.task_type == "SEQ_CLS") {
    RETURN_IF_ERROR(TakeHead(file, kPromptHeadRoot, -1, site, adapter));
  }
  return adapter;
}

}  // namespace tenon::engine
