#include "worker/engine/generate/line_search.h"

#include <utility>

#include "worker/engine/train/random.h"

namespace tenon::engine {

LineSearch::LineSearch(const GenerationPlan& plan, std::vector<int32_t> prefix, const Detokenizer& detokenize)
    : plan_(plan), prefix_(prefix.size()), written_(static_cast<size_t>(plan.num_return_sequences)) {
  for (size_t i = 0; detokenize && i < written_.size(); ++i) {
    texts_.push_back(std::make_unique<TextStream>(detokenize, plan.stop_strings));
  }
  open_.emplace_back().tokens = std::move(prefix);
}

absl::Span<const int32_t> LineSearch::tokens(int64_t line) const { return open_[static_cast<size_t>(line)].tokens; }

std::vector<double> LineSearch::Uniforms(int64_t line) const {
  const Line& at = open_[static_cast<size_t>(line)];
  const uint64_t place = at.tokens.size() - prefix_;
  const size_t first = place == 0 ? 0 : at.sequence, end = place == 0 ? written_.size() : first + 1;
  std::vector<double> uniforms;
  for (uint64_t sequence = first; sequence < end; ++sequence) {
    CounterRandom random(StreamKey(plan_.seed, Stream::kSampling, {sequence, place}));
    uniforms.push_back(static_cast<double>(random.Next() >> 11) * 0x1p-53);
  }
  return uniforms;
}

void LineSearch::Advance(absl::Span<const std::vector<Choice>> choices) {
  std::vector<Line> next;
  parents_.clear();
  deltas_.clear();
  for (size_t i = 0; i < open_.size(); ++i) {
    for (size_t k = 0; k < choices[i].size(); ++k) {
      Line line = open_[i];
      line.sequence += k;
      if (!Write(line, choices[i][k])) continue;
      line.tokens.push_back(choices[i][k].token);
      next.push_back(std::move(line));
      parents_.push_back(static_cast<int64_t>(i));
    }
  }
  open_ = std::move(next);
}

bool LineSearch::Write(const Line& line, const Choice& choice) {
  GeneratedSequence& sequence = written_[line.sequence];
  TextStream* text = texts_.empty() ? nullptr : texts_[line.sequence].get();
  SequenceDelta& delta = deltas_.emplace_back();
  delta.sequence = static_cast<int64_t>(line.sequence);
  bool ends = true;
  if (choice.token < 0) {
    sequence.reason = FinishReason::kExhausted;
  } else {
    sequence.tokens.push_back(choice.token);
    delta.tokens = {choice.token};
    if (plan_.return_scores) {
      sequence.log_probs.push_back(choice.log_prob);
      sequence.score += choice.log_prob;
      delta.log_probs = {choice.log_prob};
    }
    if (text != nullptr) delta.text = text->Add(sequence.tokens);
    if (plan_.IsEos(choice.token)) {
      sequence.reason = FinishReason::kEos;
    } else if (text != nullptr && text->stopped()) {
      sequence.reason = FinishReason::kStopString;
    } else if (static_cast<int64_t>(line.tokens.size()) + 1 >= plan_.max_length) {
      sequence.reason = FinishReason::kLength;
    } else {
      ends = false;
    }
  }
  if (ends && text != nullptr) delta.text += text->Finish();
  return !ends;
}

std::vector<GeneratedSequence> LineSearch::Take() {
  for (size_t i = 0; i < texts_.size(); ++i) written_[i].text = texts_[i]->shown();
  return std::move(written_);
}

}  // namespace tenon::engine
