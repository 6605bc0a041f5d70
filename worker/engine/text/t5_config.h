// tokenizer_config.json of a T5 folder: the added tokens that transformers makes of it, and how text is decoded.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/text/added_tokens.h"

namespace tenon::engine {

struct T5Config {
  // added_tokens_decoder, in the order of the ids. It is used instead of the tokens that the tokenizer's own file adds.
  std::optional<std::vector<AddedToken>> added_tokens;
  // Special tokens by name: eos_token, unk_token, pad_token, with T5's values where the file has none, and what others
  // it has.
  std::vector<std::string> named_tokens;
  std::string eos_token = "</s>";
  std::string unk_token = "<unk>";
  // additional_special_tokens, or extra_special_tokens.
  std::optional<std::vector<std::string>> extra_tokens;
  int64_t extra_ids = 100;  // sentinels
  bool clean_up_spaces = false;

  // All added tokens in the order in which transformers adds them: `own`, of the tokenizer's file, unless added_tokens
  // stands for them; the named ones; extra_tokens, else `otherwise`.
  std::vector<AddedToken> AddedTokensAfter(std::vector<AddedToken> own, const std::vector<AddedToken>& otherwise) const;
};

// A token that is left out of decoded text.
AddedToken SpecialToken(const std::string& content);
// <extra_id_0> and on, `count` of them.
std::vector<AddedToken> Sentinels(int64_t count);

// `text` is the file's, or empty when there is none. BASE_INVALID names the key; UNSUPPORTED one that asks for what is
// not done here (truncation_side, split_special_tokens).
absl::StatusOr<T5Config> ParseT5Config(const std::string& text);

}  // namespace tenon::engine
