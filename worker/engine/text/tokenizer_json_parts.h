// Parts of tokenizer.json that mean the same for every kind of model. Errors are BASE_INVALID and name the key, unless
// it says UNSUPPORTED.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/engine/text/added_tokens.h"

namespace tenon::engine::tokenizer_json {

inline constexpr char kFile[] = "tokenizer.json";
inline constexpr int64_t kMaxId = 100'000'000;

absl::Status Invalid(const std::string& key, const std::string& what);
// UNSUPPORTED: `found`, and `why` it is not.
absl::Status Unsupported(const std::string& key, const nlohmann::json& found, const std::string& why);

// The file, which must hold an object.
absl::StatusOr<nlohmann::json> Parse(const std::string& text);
// The type of the file's model, without building the tree of its vocabulary. Files of old versions do not say it: then
// merges are BPE's. Empty when nothing says it, also in a broken file, which Parse() names.
std::string ModelType(const std::string& text);
// An object's type; empty when it has none.
std::string Type(const nlohmann::json& part);
// The parts of a Sequence, which are in its `list`; the part itself, or nothing for null.
absl::StatusOr<std::vector<nlohmann::json>> Parts(const nlohmann::json& json, const std::string& key,
                                                  const std::string& list);
// added_tokens, in the file's order.
absl::StatusOr<std::vector<AddedToken>> ReadAddedTokens(const nlohmann::json& json);

}  // namespace tenon::engine::tokenizer_json
