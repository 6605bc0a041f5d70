// What transformers adds to the files of a byte-level tokenizer: tokenizer_config.json and special_tokens_map.json.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/text/added_tokens.h"

namespace tenon::engine {

// How transformers puts such a tokenizer together; tokenizer_class, or model_type of config.json where that is missing.
enum class ByteLevelClass {
  kFile,     // by tokenizer.json alone
  kGpt2,     // GPT2Tokenizer, of OPT too: pieces, merges, added tokens and post-processor are the file's
  kRoberta,  // RobertaTokenizer, of BART too: the same, but <s> and </s> always stand around a text
};

// Texts of the files; empty where there is none.
struct ByteLevelConfigFiles {
  std::string tokenizer_config;    // tokenizer_config.json
  std::string special_tokens_map;  // special_tokens_map.json, which counts where that has no added_tokens_decoder
  std::string added_tokens;        // added_tokens.json, likewise, where there is no tokenizer.json either
  std::string config;              // config.json
};

struct ByteLevelConfig {
  ByteLevelClass tokenizer_class = ByteLevelClass::kFile;
  bool add_prefix_space = false;  // kGpt2 and kRoberta
  bool add_bos_token = false;     // kGpt2 without a tokenizer.json
  bool add_eos_token = false;
  bool clean_up_spaces = false;
  // added_tokens_decoder, or added_tokens.json, in the order of the ids. kGpt2 and kRoberta use it instead of
  // tokenizer.json's added_tokens.
  std::optional<std::vector<AddedToken>> added_tokens;
  std::vector<AddedToken> named_tokens;      // bos_token and on, then names of one's own, in transformers' order
  std::vector<AddedToken> extra_tokens;      // extra_special_tokens, or additional_special_tokens
  std::map<std::string, std::string> names;  // content of each named token

  // All added tokens in the order in which transformers adds them; `own` are tokenizer.json's.
  std::vector<AddedToken> AddedTokensAfter(std::vector<AddedToken> own) const;
};

// BASE_INVALID names the file and key; UNSUPPORTED one that asks for what is not done here (truncation_side,
// split_special_tokens, a tokenizer_class that is none of these).
absl::StatusOr<ByteLevelConfig> ParseByteLevelConfig(const ByteLevelConfigFiles& files);

}  // namespace tenon::engine
