// Greedy search, and sampling: sequences that do not know of each other. Free of torch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/generate/plan.h"
#include "worker/engine/generate/search.h"
#include "worker/engine/generate/text_stream.h"

namespace tenon::engine {

// What one step added to a sequence.
struct SequenceDelta {
  int64_t sequence = 0;
  std::vector<int32_t> tokens;
  std::vector<float> log_probs;  // empty unless asked for
  std::string text;              // what is settled by now; may lag behind the tokens
};

class LineSearch : public Search {
 public:
  // `detokenize` may be null: then texts stay empty, and there must be no stop strings.
  LineSearch(const GenerationPlan& plan, std::vector<int32_t> prefix, const Detokenizer& detokenize);

  int64_t lines() const override { return static_cast<int64_t>(open_.size()); }
  absl::Span<const int32_t> tokens(int64_t line) const override;
  const std::vector<int64_t>& parents() const override { return parents_; }
  bool done() const override { return open_.empty(); }
  std::vector<GeneratedSequence> Take() override;

  // Sampling: the numbers of [0, 1) that the line's next tokens are drawn with. Several on the first step, one for each
  // sequence; each is a function of the seed, the sequence and the token's place alone.
  std::vector<double> Uniforms(int64_t line) const;

  // choices[i] are the next tokens of line i: one, or one for each sequence on the first step.
  void Advance(absl::Span<const std::vector<Choice>> choices);
  // What the step added, in the order of the sequences; pieces of text are given out once.
  const std::vector<SequenceDelta>& deltas() const { return deltas_; }

 private:
  struct Line {
    size_t sequence = 0;
    std::vector<int32_t> tokens;  // with the prefix
  };

  // Adds the token to the sequence; whether it goes on.
  bool Write(const Line& line, const Choice& choice);

  const GenerationPlan& plan_;
  const size_t prefix_;
  std::vector<GeneratedSequence> written_;  // one a sequence
  std::vector<std::unique_ptr<TextStream>> texts_;
  std::vector<Line> open_;
  std::vector<int64_t> parents_;
  std::vector<SequenceDelta> deltas_;
};

}  // namespace tenon::engine
