#include "common/formats/causal_config.h"
#include "common/formats/json_fields.h"

namespace tenon::formats {
namespace {

// Missing keys have the values of transformers' GPT2Config.
void Read(JsonFields& fields, CausalConfig& config) {
  config.vocab_size = fields.Int("vocab_size", 50257, 1, 10'000'000);
  config.hidden_size = fields.Int("n_embd", 768, 1, 65'536);
  config.word_size = config.hidden_size;
  config.num_layers = fields.Int("n_layer", 12, 1, 1'000);
  config.num_heads = fields.Int("n_head", 12, 1, 1'024);
  config.intermediate_size = fields.Int("n_inner", 4 * config.hidden_size, 1, 1'000'000);
  config.max_tokens = fields.Int("n_positions", 1024, 2, 1'000'000);
  config.layer_norm_eps = fields.Real("layer_norm_epsilon", 1e-5, 0, 1);
  config.activation = ReadCausalActivation(fields, "activation_function", "gelu_new");
  CheckCausalSizes(fields, "n_embd", "n_head", config);
  if (!fields.Bool("scale_attn_weights", true)) {
    fields.Unsupported("scale_attn_weights", "is false, which is not supported");
  }
  if (fields.Bool("scale_attn_by_inverse_layer_idx", false)) {
    fields.Unsupported("scale_attn_by_inverse_layer_idx", "is true, which is not supported");
  }
}

}  // namespace

// GPT-2 (Radford et al., 2019).
CausalFamily Gpt2Family() {
  CausalFamily family;
  family.model_type = "gpt2";
  family.model_class = "GPT2LMHeadModel";
  family.plain_class = "GPT2Model";
  family.task_prefix = "transformer.";
  family.words = "wte";
  family.positions = "wpe";
  family.final_norm = "ln_f";
  family.layer_prefix = "h.";
  family.layer = {.qkv = {"attn.c_attn"},
                  .attention_output = "attn.c_proj",
                  .attention_norm = "ln_1",
                  .intermediate = "mlp.c_fc",
                  .output = "mlp.c_proj",
                  .output_norm = "ln_2"};
  family.turned = true;
  family.buffers = {".attn.bias", ".attn.masked_bias"};
  family.lora_targets = {"c_attn"};
  family.read = Read;
  return family;
}

}  // namespace tenon::formats
