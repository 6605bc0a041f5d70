#include "worker/engine/spans/crf.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tenon::engine {
namespace {

using Scores = std::vector<double>;

double LogSumExp(const Scores& values) {
  const double most = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (const double value : values) sum += std::exp(value - most);
  return most + std::log(sum);
}

class Chain {
 public:
  Chain(const Crf& crf, const std::vector<std::vector<float>>& logits)
      : crf_(crf), logits_(logits), labels_(crf.start.size()) {}

  std::vector<int64_t> Best() const {
    Scores score(labels_);
    for (size_t tag = 0; tag < labels_; ++tag) score[tag] = crf_.start[tag] + At(0, tag);
    std::vector<std::vector<size_t>> from(logits_.size(), std::vector<size_t>(labels_));
    for (size_t word = 1; word < logits_.size(); ++word) {
      Scores next(labels_, -std::numeric_limits<double>::infinity());
      for (size_t to = 0; to < labels_; ++to) {
        for (size_t tag = 0; tag < labels_; ++tag) {
          const double value = score[tag] + Step(tag, to) + At(word, to);
          if (value <= next[to]) continue;
          next[to] = value;
          from[word][to] = tag;
        }
      }
      score = std::move(next);
    }
    for (size_t tag = 0; tag < labels_; ++tag) score[tag] += crf_.end[tag];
    auto tag = static_cast<size_t>(std::max_element(score.begin(), score.end()) - score.begin());
    std::vector<int64_t> tags(logits_.size());
    for (size_t word = logits_.size(); word-- > 0;) {
      tags[word] = static_cast<int64_t>(tag);
      if (word > 0) tag = from[word][tag];
    }
    return tags;
  }

  // Logarithms of all ways to a tag, and from it on, its own logit in the former.
  std::vector<Scores> Forward() const {
    std::vector<Scores> ways(logits_.size(), Scores(labels_));
    for (size_t tag = 0; tag < labels_; ++tag) ways[0][tag] = crf_.start[tag] + At(0, tag);
    Scores terms(labels_);
    for (size_t word = 1; word < logits_.size(); ++word) {
      for (size_t to = 0; to < labels_; ++to) {
        for (size_t tag = 0; tag < labels_; ++tag) terms[tag] = ways[word - 1][tag] + Step(tag, to);
        ways[word][to] = LogSumExp(terms) + At(word, to);
      }
    }
    return ways;
  }
  std::vector<Scores> Backward() const {
    std::vector<Scores> ways(logits_.size(), Scores(crf_.end.begin(), crf_.end.end()));
    Scores terms(labels_);
    for (size_t word = logits_.size() - 1; word-- > 0;) {
      for (size_t tag = 0; tag < labels_; ++tag) {
        for (size_t to = 0; to < labels_; ++to) terms[to] = Step(tag, to) + At(word + 1, to) + ways[word + 1][to];
        ways[word][tag] = LogSumExp(terms);
      }
    }
    return ways;
  }

 private:
  double At(size_t word, size_t tag) const { return logits_[word][tag]; }
  double Step(size_t from, size_t to) const { return crf_.transitions[from * labels_ + to]; }

  const Crf& crf_;
  const std::vector<std::vector<float>>& logits_;
  const size_t labels_;
};

}  // namespace

std::vector<TagChoice> ChooseTogether(const Crf& crf, const std::vector<std::vector<float>>& logits) {
  if (logits.empty()) return {};
  const Chain chain(crf, logits);
  const std::vector<int64_t> tags = chain.Best();
  const std::vector<Scores> forward = chain.Forward(), backward = chain.Backward();
  std::vector<TagChoice> choices;
  for (size_t word = 0; word < tags.size(); ++word) {
    Scores both(crf.start.size());
    for (size_t tag = 0; tag < both.size(); ++tag) both[tag] = forward[word][tag] + backward[word][tag];
    const auto chosen = static_cast<size_t>(tags[word]);
    choices.push_back({tags[word], std::exp(both[chosen] - LogSumExp(both))});
  }
  return choices;
}

}  // namespace tenon::engine
