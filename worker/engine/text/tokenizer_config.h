// tokenizer_config.json: what transformers adds to, or changes in, a tokenizer's own files.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/text/added_tokens.h"
#include "worker/engine/text/bert_normalizer.h"

namespace tenon::engine {

struct TokenizerConfig {
  std::optional<bool> do_lower_case;
  std::optional<bool> strip_accents;
  std::optional<bool> tokenize_chinese_chars;
  // Whether the class goes by tokenizer.json alone; BERT's have their own special tokens around.
  bool generic_class = false;
  // Whether rows come with token types: `model_input_names` says it, else the class.
  bool types = true;
  std::string unk_token = "[UNK]";
  std::string sep_token = "[SEP]";
  std::string pad_token = "[PAD]";
  std::string cls_token = "[CLS]";
  std::string mask_token = "[MASK]";
  std::vector<AddedToken> added_tokens;  // added_tokens_decoder

  // The normalizer's settings that this file gives win over tokenizer.json's, as in transformers.
  void Apply(BertNormalizerOptions* options) const;
};

// `text` is the file's, or empty when there is none.
absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(const std::string& text);

// content, single_word, lstrip, rstrip, normalized and special of one token; `file` is named in errors.
absl::StatusOr<AddedToken> ReadAddedToken(const nlohmann::json& object, const std::string& file);
// added_tokens_decoder, an object of tokens by id, in the order of the ids.
absl::StatusOr<std::vector<AddedToken>> ReadAddedTokensDecoder(const nlohmann::json& decoder);

}  // namespace tenon::engine
