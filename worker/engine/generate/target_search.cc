#include "worker/engine/generate/target_search.h"

#include <utility>

namespace tenon::engine {

GenerationPlan ReadingPlan(int64_t target_tokens) {
  GenerationPlan plan;
  plan.mode = SearchMode::kGiven;
  plan.max_length = plan.prefix_tokens + target_tokens;
  return plan;
}

TargetSearch::TargetSearch(const std::vector<int32_t>& target, std::vector<int32_t> prefix)
    : prefix_tokens_(prefix.size()), target_tokens_(target.size()), sequence_(std::move(prefix)) {
  sequence_.insert(sequence_.end(), target.begin(), target.end());
}

absl::Span<const int32_t> TargetSearch::tokens(int64_t) const {
  return absl::MakeConstSpan(sequence_).subspan(0, prefix_tokens_ + read_);
}

void TargetSearch::Advance(float log_prob, int32_t likeliest) {
  judged_.tokens.push_back(next());
  judged_.log_probs.push_back(log_prob);
  judged_.score += log_prob;
  judged_.foreseen_tokens += likeliest == next();
  ++read_;
  if (done()) parents_.clear();
}

std::vector<GeneratedSequence> TargetSearch::Take() { return {std::move(judged_)}; }

}  // namespace tenon::engine
