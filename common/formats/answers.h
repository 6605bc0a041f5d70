// When two written texts are the same answer, to who asks for labels and to who counts them. Apart from the other
// formats as a library: it needs ICU.
#pragma once

#include <string>

namespace tenon::formats {

// `text`, which is UTF-8, in Unicode's form NFKC and lower case (ICU's, of no language), without white space, quotation
// marks, brackets and the punctuation of sentences at either end, each run of white space as one blank: ` "Sports".` is
// `sports`, while `-1`, `C#` and `100%` stay what they are. Punctuation that is all there is stays.
std::string NormalizeAnswer(const std::string& text);

}  // namespace tenon::formats
