// Words of a text, by ICU's rules (Unicode Standard Annex 29).
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/text/tokenizer.h"

namespace tenon::engine {

// What stands between two breaks and is no white space: words, numbers, and each punctuation character by itself.
// `text` is UTF-8. INTERNAL when ICU's data are not there.
absl::StatusOr<std::vector<TextPlace>> WordsOf(const std::string& text);

}  // namespace tenon::engine
