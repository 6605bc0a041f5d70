// Scores of tagged words: entities by conlleval's rules, which are those of PyPI's seqeval by default. No torch.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "worker/engine/evaluate/classification.h"

namespace tenon::engine {

struct TagScores {
  double precision = 0, recall = 0, f1 = 0;  // of entities, all types together (micro); 0 where they divide by zero
  double accuracy = 0;                       // of words' tags
  std::map<std::string, ClassScore> types;   // of entities; those that occur in truth or predictions
  int64_t rows = 0, words = 0;
};

// Feeds texts one by one.
class TagEvaluator {
 public:
  // Tags of the same words. An entity is found when one with its type, beginning and end is predicted.
  void Add(const std::vector<std::string>& truth, const std::vector<std::string>& predicted);
  TagScores Finish() const;

 private:
  struct Counts {
    int64_t right = 0, predicted = 0, actual = 0;
  };
  std::map<std::string, Counts> types_;
  int64_t rows_ = 0, words_ = 0, right_words_ = 0;
};

}  // namespace tenon::engine
