// A linear-chain conditional random field over tags (Lafferty et al., 2001), as PyPI's pytorch-crf has it: the score of
// a text's tags is the sum of each word's logit, of a number for each pair of neighbours, and of one for the first and
// the last tag. Pure.
#pragma once

#include <cstdint>
#include <vector>

namespace tenon::engine {

struct Crf {
  std::vector<float> start, end;   // [labels]
  std::vector<float> transitions;  // row-major [from, to]
};

struct TagChoice {
  int64_t tag = 0;
  double score = 0;  // its probability
};

// The tags of a text that score best together (Viterbi), with each one's marginal probability (forward-backward).
// `logits` [words][labels].
std::vector<TagChoice> ChooseTogether(const Crf& crf, const std::vector<std::vector<float>>& logits);

}  // namespace tenon::engine
