#include "worker/engine/spans/tags.h"

#include <algorithm>
#include <cmath>

namespace tenon::engine {

std::vector<TagChoice> ChooseTags(const std::vector<std::vector<float>>& logits, const Crf* crf) {
  if (crf != nullptr) return ChooseTogether(*crf, logits);
  std::vector<TagChoice> choices;
  for (const std::vector<float>& word : logits) {
    const auto best = std::max_element(word.begin(), word.end());
    double sum = 0;
    for (const float logit : word) sum += std::exp(static_cast<double>(logit) - *best);
    choices.push_back({best - word.begin(), 1 / sum});
  }
  return choices;
}

std::vector<std::string> TagNames(const std::vector<TagChoice>& choices, const std::vector<std::string>& labels) {
  std::vector<std::string> names;
  for (const TagChoice& choice : choices) names.push_back(labels[static_cast<size_t>(choice.tag)]);
  return names;
}

}  // namespace tenon::engine
