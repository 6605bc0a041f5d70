// Scores of answers by the rules of SQuAD's own script (versions 1.1 and 2.0): texts are compared in lower case,
// without ASCII punctuation and English articles, words with one blank between. No torch.
// https://rajpurkar.github.io/SQuAD-explorer/
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tenon::engine {

struct AnswerScores {
  struct Means {
    double exact_match = 0, f1 = 0;
    int64_t rows = 0;
  };
  Means all, with_answer, without_answer;
};

// Feeds questions one by one.
class AnswerEvaluator {
 public:
  // `truth`: texts that are right, none when there is no answer; `predicted` is empty when none was found.
  void Add(const std::vector<std::string>& truth, const std::string& predicted);
  AnswerScores Finish() const;

 private:
  AnswerScores::Means sums_, with_, without_;
};

// The words of an answer that are compared.
std::vector<std::string> SquadWords(const std::string& text);

}  // namespace tenon::engine
