// What all files of a byte-level tokenizer have in common.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "worker/engine/text/byte_level_tokenizer.h"

namespace tenon::engine {

// `vocab` is an object of ids by piece, each id once. BASE_INVALID begins with `where`, such as "vocab.json".
absl::Status ReadBytePairIds(const nlohmann::json& vocab, const std::string& where, BytePairVocabulary* vocabulary);

// "left right"; nothing when it is not two pieces.
std::optional<std::pair<std::string, std::string>> SplitMerge(const std::string& line);

// What tokenizer.json adds to pieces and merges; nothing of it is in older files.
struct ByteLevelParts {
  std::vector<AddedToken> added_tokens;
  std::optional<TokensAround> around;
};

// Gives the added tokens their ids, as Hugging Face's tokenizers do: that of the piece with the same content, or the
// next free one. Then the special tokens around a text: the file's own, or those of the class.
absl::Status Complete(const ByteLevelConfig& config, std::optional<ByteLevelParts> parts, ByteLevelSpec* spec);

}  // namespace tenon::engine
