// GPT-2's cut of a text into words, within which byte pairs are merged: the `ByteLevel` pre-tokenizer of Hugging Face,
//
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// so that the last white space before a word stays outside the run before it, and is the word's own if it is a space.
// https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
#pragma once

#include <cstddef>

namespace tenon::engine {

// Bytes of the first word of [p, end), which is valid UTF-8 and not empty. All words of a text together take time in
// proportion to its length.
size_t WordBytes(const char* p, const char* end);

}  // namespace tenon::engine
