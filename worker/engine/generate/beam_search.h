// Beam search over one request's lines: which hypotheses go on, which are finished, and when to end. The rules are
// those of transformers 5's generate(), for a request alone. Free of torch and of the model: it sees candidates, best
// first.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/generate/plan.h"
#include "worker/engine/generate/search.h"

namespace tenon::engine {

// A line with one more token.
struct BeamCandidate {
  float score = 0;     // the line's log-probability with the token
  float log_prob = 0;  // the token's own
  int64_t line = 0;
  int32_t token = 0;
};

class BeamSearch : public Search {
 public:
  // Whether a sequence, without its prefix, has come to a stop string.
  using StopCheck = std::function<bool(absl::Span<const int32_t> tokens)>;

  // Starts with one line that holds `prefix`. `stops` may be null.
  BeamSearch(const GenerationPlan& plan, std::vector<int32_t> prefix, StopCheck stops);

  // Open hypotheses: 1 before the first step, later at most num_beams. Their tokens begin with the prefix.
  int64_t lines() const override { return static_cast<int64_t>(open_.size()); }
  absl::Span<const int32_t> tokens(int64_t line) const override { return open_[static_cast<size_t>(line)].tokens; }
  float score(int64_t line) const { return open_[static_cast<size_t>(line)].score; }

  // How many candidates a step looks at: enough that num_beams go on even if each line's best ones are all ends.
  int64_t width() const;

  // Takes the best width() candidates over all lines, best first; fewer when no others are possible.
  void Advance(absl::Span<const BeamCandidate> candidates);
  const std::vector<int64_t>& parents() const override { return parents_; }
  bool done() const override { return done_; }

  // The best num_return_sequences of what is finished, best first, without the prefix; fewer when there are not as
  // many.
  std::vector<GeneratedSequence> Take() override;

 private:
  struct Hypothesis {
    std::vector<int32_t> tokens;
    std::vector<float> log_probs;
    float score = 0;
    FinishReason reason = FinishReason::kLength;
  };

  Hypothesis Extend(const BeamCandidate& candidate) const;
  // Whether it ends here, and why.
  bool Ends(Hypothesis& hypothesis) const;
  float Penalty(int64_t tokens) const;  // tokens ^ length_penalty
  void Finish(Hypothesis hypothesis);
  bool CanImprove() const;

  const GenerationPlan& plan_;
  const int64_t prefix_;
  const StopCheck stops_;
  std::vector<Hypothesis> open_, finished_;  // both best first; finished ones' scores are by length
  std::vector<int64_t> parents_;
  bool done_ = false;
};

}  // namespace tenon::engine
