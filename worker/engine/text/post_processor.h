// Special tokens that stand around a text, or around and between two: `post_processor` of tokenizer.json.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"

namespace tenon::engine {

struct TokensAround {
  std::vector<int32_t> before, after;                     // one text
  std::vector<int32_t> before_pair, between, after_pair;  // two

  bool operator==(const TokensAround&) const = default;
};

// `<s> a </s>` and `<s> a </s> </s> b </s>`.
TokensAround RobertaTokensAround(int32_t cls, int32_t sep);

// Of the file's object: nothing where it has no post-processor. TemplateProcessing, RobertaProcessing and ByteLevel,
// and Sequences of these with one of the first two at most. BASE_INVALID and UNSUPPORTED name the key.
absl::StatusOr<std::optional<TokensAround>> ReadPostProcessor(const nlohmann::json& json);

}  // namespace tenon::engine
