#include "worker/engine/generate/choose.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/log_softmax.h>

#include <memory>
#include <utility>

#include "worker/engine/generate/candidates.h"
#include "worker/engine/generate/constraints.h"
#include "worker/engine/generate/sampling.h"
#include "worker/engine/generate/scores.h"

namespace tenon::engine {
namespace {

using Searches = std::vector<const SearchRows*>;

Searches OfMode(const std::vector<SearchRows>& searches, SearchMode mode) {
  Searches some;
  for (const SearchRows& one : searches) {
    if (one.plan->mode == mode) some.push_back(&one);
  }
  return some;
}

// The rows of some searches, in order, [rows, vocab]. Not copied where they are neighbours.
at::Tensor RowsOf(const at::Tensor& logits, const Searches& searches) {
  std::vector<int64_t> rows;
  for (const SearchRows* one : searches) {
    for (int64_t i = 0; i < one->search().lines(); ++i) rows.push_back(one->first_row + i);
  }
  const int64_t count = static_cast<int64_t>(rows.size());
  if (rows.back() - rows.front() + 1 == count) return logits.narrow(0, rows.front(), count);
  const at::Tensor places = at::from_blob(rows.data(), {count}, at::TensorOptions().dtype(at::kLong));
  return logits.index_select(0, places.to(logits.device()));
}

// What each line's history changes in its scores.
void Constrain(at::Tensor& scores, const Searches& searches) {
  ScoreEdits edits(scores.size(1));
  int64_t row = 0;
  for (const SearchRows* one : searches) {
    for (int64_t i = 0; i < one->search().lines(); ++i, ++row) {
      const Constraints constraints = ConstraintsOf(*one->plan, one->search().tokens(i));
      if (!constraints.empty()) edits.Add(row, constraints, one->plan->repetition_penalty);
    }
  }
  edits.Apply(scores);
}

// Beams add log-probabilities, and are constrained after the logarithm: a penalty works on other numbers than in greedy
// search.
void ChooseBeams(const at::Tensor& logits, const Searches& searches) {
  at::Tensor log_probs = at::log_softmax(RowsOf(logits, searches), -1);
  Constrain(log_probs, searches);
  int64_t row = 0;
  for (const SearchRows* one : searches) {
    const int64_t lines = one->beams->lines();
    std::vector<float> totals;
    for (int64_t i = 0; i < lines; ++i) totals.push_back(one->beams->score(i));
    one->beams->Advance(BestCandidates(log_probs.narrow(0, row, lines), totals, one->beams->width()));
    row += lines;
  }
}

void ChooseGreedily(const at::Tensor& logits, const Searches& searches) {
  at::Tensor scores = RowsOf(logits, searches);
  Constrain(scores, searches);
  // Not a vector: its bools are no array.
  const auto with_log_probs = std::make_unique<bool[]>(searches.size());
  for (size_t i = 0; i < searches.size(); ++i) with_log_probs[i] = searches[i]->plan->return_scores;
  const std::vector<Choice> best = BestTokens(scores, absl::MakeConstSpan(with_log_probs.get(), searches.size()));
  for (size_t i = 0; i < searches.size(); ++i) searches[i]->lines->Advance({{best[i]}});
}

void DrawTokens(const at::Tensor& logits, const Searches& searches) {
  at::Tensor scores = RowsOf(logits, searches);
  Constrain(scores, searches);
  std::vector<SampleRow> rows;
  for (const SearchRows* one : searches) {
    for (int64_t i = 0; i < one->lines->lines(); ++i) rows.push_back({one->plan, one->lines->Uniforms(i)});
  }
  const std::vector<std::vector<Choice>> drawn = Sample(std::move(scores), rows);
  size_t row = 0;
  for (const SearchRows* one : searches) {
    const size_t lines = static_cast<size_t>(one->lines->lines());
    one->lines->Advance(absl::MakeConstSpan(drawn).subspan(row, lines));
    row += lines;
  }
}

// Nothing is chosen, and nothing constrains what is given.
void JudgeTargets(const at::Tensor& logits, const Searches& searches) {
  const at::Tensor scores = RowsOf(logits, searches);
  const auto without_log_probs = std::make_unique<bool[]>(searches.size());
  const std::vector<Choice> best = BestTokens(scores, absl::MakeConstSpan(without_log_probs.get(), searches.size()));
  std::vector<int64_t> next;
  for (const SearchRows* one : searches) next.push_back(one->given->next());
  const at::Tensor places = at::from_blob(next.data(), {scores.size(0), 1}, at::TensorOptions().dtype(at::kLong));
  const at::Tensor judged = at::log_softmax(scores, -1).gather(1, places.to(scores.device())).to(at::kCPU).contiguous();
  const float* log_probs = judged.const_data_ptr<float>();
  for (size_t i = 0; i < searches.size(); ++i) searches[i]->given->Advance(log_probs[i], best[i].token);
}

}  // namespace

void ChooseTokens(at::Tensor logits, const std::vector<SearchRows>& searches) {
  const Searches beams = OfMode(searches, SearchMode::kBeam), greedy = OfMode(searches, SearchMode::kGreedy),
                 sampled = OfMode(searches, SearchMode::kSample), given = OfMode(searches, SearchMode::kGiven);
  if (!beams.empty()) ChooseBeams(logits, beams);
  if (!greedy.empty()) ChooseGreedily(logits, greedy);
  if (!sampled.empty()) DrawTokens(logits, sampled);
  if (!given.empty()) JudgeTargets(logits, given);
}

}  // namespace tenon::engine
