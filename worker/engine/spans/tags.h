// What logits say of a text's words. Pure.
#pragma once

#include <string>
#include <vector>

#include "common/formats/bio.h"
#include "worker/engine/spans/crf.h"

namespace tenon::engine {

// The tag of each word and its probability: the best by itself (softmax), or with a chain the best together. `logits`
// [words][labels].
std::vector<TagChoice> ChooseTags(const std::vector<std::vector<float>>& logits, const Crf* crf);

// Their names.
std::vector<std::string> TagNames(const std::vector<TagChoice>& choices, const std::vector<std::string>& labels);

}  // namespace tenon::engine
