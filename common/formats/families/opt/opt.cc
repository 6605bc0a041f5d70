#include "common/formats/causal_config.h"
#include "common/formats/json_fields.h"

namespace tenon::formats {
namespace {

// Missing keys have the values of transformers' OPTConfig.
void Read(JsonFields& fields, CausalConfig& config) {
  config.vocab_size = fields.Int("vocab_size", 50272, 1, 10'000'000);
  config.hidden_size = fields.Int("hidden_size", 768, 1, 65'536);
  config.word_size = fields.Int("word_embed_proj_dim", config.hidden_size, 1, 65'536);
  config.num_layers = fields.Int("num_hidden_layers", 12, 1, 1'000);
  config.num_heads = fields.Int("num_attention_heads", 12, 1, 1'024);
  config.intermediate_size = fields.Int("ffn_dim", 3072, 1, 1'000'000);
  config.max_tokens = fields.Int("max_position_embeddings", 2048, 2, 1'000'000);
  config.position_offset = 2;
  config.norm_first = fields.Bool("do_layer_norm_before", true);
  // Checkpoints that were fine-tuned by an old version lack the last norm.
  config.final_norm = config.norm_first && !fields.Bool("_remove_final_layer_norm", false);
  config.activation = ReadCausalActivation(fields, "activation_function", "relu");
  CheckCausalSizes(fields, "hidden_size", "num_attention_heads", config);
  for (const char* key : {"enable_bias", "layer_norm_elementwise_affine"}) {
    if (!fields.Bool(key, true)) fields.Unsupported(key, "is false, which is not supported");
  }
}

}  // namespace

// OPT (Zhang et al., 2022).
CausalFamily OptFamily() {
  CausalFamily family;
  family.model_type = "opt";
  family.model_class = "OPTForCausalLM";
  family.plain_class = "OPTModel";
  family.task_prefix = "model.decoder.";
  family.plain_prefix = "decoder.";
  family.words = "embed_tokens";
  family.positions = "embed_positions";
  family.final_norm = "final_layer_norm";
  family.project_in = "project_in";
  family.project_out = "project_out";
  family.layer_prefix = "layers.";
  family.layer = {.qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
                  .attention_output = "self_attn.out_proj",
                  .attention_norm = "self_attn_layer_norm",
                  .intermediate = "fc1",
                  .output = "fc2",
                  .output_norm = "final_layer_norm"};
  family.lora_targets = {"q_proj", "v_proj"};
  family.read = Read;
  return family;
}

}  // namespace tenon::formats
