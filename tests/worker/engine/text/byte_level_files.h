// Files of a tiny byte-level tokenizer, made by hand: vocab.json, merges.txt and tokenizer.json.
#pragma once

#include <string>

namespace tenon::test {

// The id of a single byte is its number. Then ab 256, " ab" 257, th 258, the 259, E4 B8 260, E4 B8 AD (U+4E2D) 261, and
// <s> 262, <pad> 263, </s> 264, <unk> 265, <mask> 266.
std::string TinyBytesVocab();
// In the order of their ids, with E4 B8 before it is needed.
std::string TinyBytesMerges();
// The same in Hugging Face's form, as RoBERTa's: </s> and on are added tokens, <mask> takes the space before it.
std::string TinyBytesJson();

}  // namespace tenon::test
