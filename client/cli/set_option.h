// `--set key=value`, typed by the contract's own fields.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace tenon::cli {

// Sets the field `key` of the first of `messages` that has it. Lists take `a,b` or a JSON list, maps `name:value,...`
// or a JSON object. OPTION_INVALID names the key, its type when the value is wrong, and the nearest right key when
// there is none like it.
absl::Status SetOption(const std::string& assignment, const std::vector<google::protobuf::Message*>& messages);

// All keys of `messages`, in the order of their numbers.
std::vector<std::string> OptionKeys(const std::vector<const google::protobuf::Message*>& messages);

// The candidate with the fewest edits (insert, delete, replace, swap of neighbours) from `word`.
std::string Nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace tenon::cli
