// adapter_config.json of a soft prompt (Lester et al., 2021) as Hugging Face PEFT writes it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tenon::formats {

// What a new prompt is made of: normal numbers, embeddings of words drawn from the vocabulary, or those of a text,
// cut or repeated to the prompt's length. PEFT's RANDOM, SAMPLE_VOCAB and TEXT.
enum class PromptInit { kRandom, kVocabulary, kText };

// PEFT's PromptTuningConfig, for an encoder, an encoder-decoder or a decoder. Fields that we do not support are refused
// by name when they are set, never ignored.
struct PromptConfig {
  int64_t num_virtual_tokens = 20;
  PromptInit init = PromptInit::kRandom;
  std::string init_text;               // of kText
  std::string tokenizer_name_or_path;  // of kText: where PEFT finds the tokenizer
  // The base's shape; 0 where the file leaves it open.
  int64_t token_dim = 0, num_layers = 0, num_attention_heads = 0;
  std::string task_type;  // `SEQ_CLS`, `TOKEN_CLS`, `QUESTION_ANS`, `FEATURE_EXTRACTION`, `SEQ_2_SEQ_LM` or `CAUSAL_LM`
  // 2 when the file has as many rows again, for a decoder: PEFT writes them for SEQ_2_SEQ_LM unless it is told 1, and
  // with a prompt never reads them. What stands before the encoder's input are the first rows, in any case.
  int64_t num_transformer_submodules = 1;
  std::string base_model_name_or_path;
};

// Reads `adapter_config.json` text. ADAPTER_INVALID or UNSUPPORTED names the key.
absl::StatusOr<PromptConfig> ParsePromptConfig(const std::string& json);
// PEFT opens what this writes.
std::string WritePromptConfig(const PromptConfig& config);

// Rows of the tensor in the file.
inline int64_t PromptRows(const PromptConfig& config) {
  return config.num_virtual_tokens * config.num_transformer_submodules;
}

// `random`, `vocabulary`, `text`; OPTION_INVALID for `init` otherwise.
absl::StatusOr<PromptInit> ParsePromptInit(const std::string& name);

// OPTION_INVALID names `num_virtual_tokens` or `init_text`.
absl::Status CheckPromptOptions(const PromptConfig& config);

}  // namespace tenon::formats
