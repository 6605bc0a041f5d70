// Words of a text in any script.
#pragma once

#include <string>
#include <vector>

namespace tenon::engine {

// Runs of letters, digits and the marks on them (Unicode's categories L*, N*, M*), in ICU's lower case; each ideograph
// and each letter of Hiragana and Katakana is a word, since no blank parts them. Of ASCII text these are ROUGE's
// tokens, unstemmed. `text` is UTF-8; bytes that are none part words.
std::vector<std::string> SummaryWords(const std::string& text);

}  // namespace tenon::engine
