#include "worker/engine/adapter/read_prompt.h"

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/adapter/write.h"

namespace tenon::engine {
namespace {

// [CLS], a word and [SEP].
constexpr int64_t kLeastText = 3;

absl::Status CheckSize(const char* key, int64_t value, int64_t base) {
  if (value == 0 || value == base) return absl::OkStatus();
  return InvalidAdapter(absl::StrCat("adapter_config.json: ", key, " is ", value, ", the base has ", base), key);
}

}  // namespace

absl::StatusOr<AdapterTensors> ReadPrompt(AdapterFile& file, const formats::PromptConfig& config,
                                          const AdapterSite& site) {
  RETURN_IF_ERROR(CheckSize("token_dim", config.token_dim, site.encoder->hidden_size));
  RETURN_IF_ERROR(CheckSize("num_layers", config.num_layers, site.encoder->num_hidden_layers));
  RETURN_IF_ERROR(CheckSize("num_attention_heads", config.num_attention_heads, site.encoder->num_attention_heads));
  if (config.num_virtual_tokens > site.encoder->max_position_embeddings - kLeastText) {
    return InvalidAdapter(absl::StrCat("num_virtual_tokens is ", config.num_virtual_tokens, "; of the base's ",
                                       site.encoder->max_position_embeddings, " positions a text needs ", kLeastText),
                          "num_virtual_tokens");
  }
  AdapterTensors adapter;
  adapter.prompt = config;
  ASSIGN_OR_RETURN(adapter.prompt_embeddings,
                   file.Take(kPromptTensor, {config.num_virtual_tokens, site.encoder->hidden_size}));
  if (config.task_type == "SEQ_CLS") {
    ASSIGN_OR_RETURN(adapter.modules["classifier"], file.TakeModule(kPromptClassifier, -1, site.encoder->hidden_size));
  }
  return adapter;
}

}  // namespace tenon::engine
