// Porter's stemmer (M. F. Porter, An algorithm for suffix stripping, 1980) with NLTK's departures, which rouge_score
// uses: `skies` and `sky` are one, `says` keeps its y, `news` is no plural, `hopefully` loses `fulli`.
#pragma once

#include <string>

namespace tenon::engine {

// The stem of a word in lower-case ASCII; digits count as consonants. Words of one or two letters are their own stem.
std::string PorterStem(const std::string& word);

}  // namespace tenon::engine
