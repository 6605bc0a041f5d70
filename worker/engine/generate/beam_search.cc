#include "worker/engine/generate/beam_search.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace tenon::engine {

BeamSearch::BeamSearch(const GenerationPlan& plan, std::vector<int32_t> prefix, StopCheck stops)
    : plan_(plan), prefix_(static_cast<int64_t>(prefix.size())), stops_(std::move(stops)) {
  open_.emplace_back().tokens = std::move(prefix);
}

int64_t BeamSearch::width() const {
  return std::max<int64_t>(2, 1 + static_cast<int64_t>(plan_.eos_token_ids.size())) * plan_.num_beams;
}

BeamSearch::Hypothesis BeamSearch::Extend(const BeamCandidate& candidate) const {
  Hypothesis longer = open_[static_cast<size_t>(candidate.line)];
  longer.tokens.push_back(candidate.token);
  if (plan_.return_scores) longer.log_probs.push_back(candidate.log_prob);
  longer.score = candidate.score;
  return longer;
}

bool BeamSearch::Ends(Hypothesis& hypothesis) const {
  const absl::Span<const int32_t> written =
      absl::MakeConstSpan(hypothesis.tokens).subspan(static_cast<size_t>(prefix_));
  if (plan_.IsEos(written.back())) {
    hypothesis.reason = FinishReason::kEos;
  } else if (stops_ && stops_(written)) {
    hypothesis.reason = FinishReason::kStopString;
  } else if (static_cast<int64_t>(hypothesis.tokens.size()) >= plan_.max_length) {
    hypothesis.reason = FinishReason::kLength;
  } else {
    return false;
  }
  return true;
}

// In double, then rounded, as Python's power of two numbers meets a tensor of floats.
float BeamSearch::Penalty(int64_t tokens) const {
  return static_cast<float>(std::pow(static_cast<double>(tokens), plan_.length_penalty));
}

void BeamSearch::Finish(Hypothesis hypothesis) {
  hypothesis.score /= Penalty(std::max<int64_t>(1, static_cast<int64_t>(hypothesis.tokens.size()) - prefix_));
  const auto place = std::find_if(finished_.begin(), finished_.end(),
                                  [&](const Hypothesis& other) { return other.score < hypothesis.score; });
  finished_.insert(place, std::move(hypothesis));
  if (static_cast<int64_t>(finished_.size()) > plan_.num_beams) finished_.pop_back();
}

void BeamSearch::Advance(absl::Span<const BeamCandidate> candidates) {
  const size_t beams = static_cast<size_t>(plan_.num_beams);
  std::vector<Hypothesis> next;
  std::vector<int64_t> parents;
  for (size_t i = 0; i < candidates.size() && next.size() < beams; ++i) {
    Hypothesis longer = Extend(candidates[i]);
    if (!Ends(longer)) {
      next.push_back(std::move(longer));
      parents.push_back(candidates[i].line);
    } else if (i < beams) {  // an end among the rest is dropped: those are there to go on with alone
      Finish(std::move(longer));
    }
  }
  if (candidates.empty()) {
    for (Hypothesis& stuck : open_) {
      stuck.reason = FinishReason::kExhausted;
      Finish(std::move(stuck));
    }
  }
  open_ = std::move(next);
  parents_ = std::move(parents);
  const bool full = finished_.size() == beams;
  done_ = open_.empty() || !CanImprove() || (full && plan_.early_stopping == EarlyStopping::kTrue);
}

bool BeamSearch::CanImprove() const {
  if (static_cast<int64_t>(finished_.size()) < plan_.num_beams) return true;
  const bool longest = plan_.early_stopping == EarlyStopping::kNever && plan_.length_penalty > 0;
  const int64_t length = longest ? plan_.max_length : static_cast<int64_t>(open_.front().tokens.size());
  return open_.front().score / Penalty(length - prefix_) > finished_.back().score;
}

std::vector<GeneratedSequence> BeamSearch::Take() {
  std::vector<GeneratedSequence> best;
  for (Hypothesis& hypothesis : finished_) {
    if (static_cast<int64_t>(best.size()) == plan_.num_return_sequences) break;
    GeneratedSequence& sequence = best.emplace_back();
    sequence.tokens.assign(hypothesis.tokens.begin() + prefix_, hypothesis.tokens.end());
    sequence.log_probs = std::move(hypothesis.log_probs);
    sequence.score = hypothesis.score;
    sequence.reason = hypothesis.reason;
  }
  finished_.clear();
  return best;
}

}  // namespace tenon::engine
