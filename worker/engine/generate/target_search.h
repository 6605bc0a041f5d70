// Teacher forcing: a target that is given is read as if the search had written it, token by token, for what the model
// thinks of each. Free of torch.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/engine/generate/plan.h"
#include "worker/engine/generate/search.h"

namespace tenon::engine {

// How to read a target of so many tokens: the plan of a GenerationRequest that has one.
GenerationPlan ReadingPlan(int64_t target_tokens);

class TargetSearch : public Search {
 public:
  // `target` is not empty and holds no ids beyond the vocabulary; its end is a token of it like the others.
  TargetSearch(const std::vector<int32_t>& target, std::vector<int32_t> prefix);

  int64_t lines() const override { return done() ? 0 : 1; }
  absl::Span<const int32_t> tokens(int64_t line) const override;
  const std::vector<int64_t>& parents() const override { return parents_; }
  bool done() const override { return read_ == target_tokens_; }
  // The target, with the log-probability of each token, and how many of them were the likeliest.
  std::vector<GeneratedSequence> Take() override;

  // The token that is judged next, how likely it was, and which was likeliest.
  int32_t next() const { return sequence_[prefix_tokens_ + read_]; }
  void Advance(float log_prob, int32_t likeliest);

 private:
  const size_t prefix_tokens_, target_tokens_;
  std::vector<int32_t> sequence_;  // prefix and target
  size_t read_ = 0;
  std::vector<int64_t> parents_ = {0};
  GeneratedSequence judged_;
};

}  // namespace tenon::engine
