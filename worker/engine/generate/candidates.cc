#include "worker/engine/generate/candidates.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/log_softmax.h>

#include <algorithm>
#include <tuple>

#include "worker/engine/generate/scores.h"

namespace tenon::engine {
namespace {

bool Better(const BeamCandidate& a, const BeamCandidate& b) {
  return std::tie(b.score, a.line, a.token) < std::tie(a.score, b.line, b.token);
}

// The best so far, worst at the front of a heap. Almost every score of a row is below the worst of them, which a
// block's maximum tells: one pass, where a partial sort of all lines' scores would copy and move each.
class Best {
 public:
  explicit Best(size_t width) : width_(width) { heap_.reserve(width + 1); }

  void AddRow(const float* row, int64_t count, int64_t line, float total) {
    constexpr int64_t kBlock = 64, kLanes = 16;
    int64_t i = 0;
    for (; i + kBlock <= count; i += kBlock) {
      float highest[kLanes];
      for (int64_t j = 0; j < kLanes; ++j) highest[j] = row[i + j];
      for (int64_t k = kLanes; k < kBlock; k += kLanes) {
        for (int64_t j = 0; j < kLanes; ++j) highest[j] = std::max(highest[j], row[i + k + j]);
      }
      if (*std::max_element(highest, highest + kLanes) + total > floor_) AddFew(row, i, i + kBlock, line, total);
    }
    AddFew(row, i, count, line, total);
  }

  std::vector<BeamCandidate> Take() {
    std::sort_heap(heap_.begin(), heap_.end(), Better);
    return std::move(heap_);
  }

 private:
  void AddFew(const float* row, int64_t begin, int64_t end, int64_t line, float total) {
    for (int64_t i = begin; i < end; ++i) {
      if (!(row[i] + total > floor_)) continue;
      heap_.push_back({row[i] + total, row[i], line, static_cast<int32_t>(i)});
      std::push_heap(heap_.begin(), heap_.end(), Better);
      if (heap_.size() <= width_) continue;
      std::pop_heap(heap_.begin(), heap_.end(), Better);
      heap_.pop_back();
      floor_ = heap_.front().score;
    }
  }

  const size_t width_;
  std::vector<BeamCandidate> heap_;
  float floor_ = kImpossible;  // what is not above it is not wanted
};

}  // namespace

std::vector<BeamCandidate> BestCandidatesByTopK(const at::Tensor& log_probs, absl::Span<const float> totals,
                                                int64_t width) {
  const int64_t vocab = log_probs.size(1);
  const at::Tensor offsets =
      at::from_blob(const_cast<float*>(totals.data()), {log_probs.size(0), 1}, at::TensorOptions().dtype(at::kFloat))
          .to(log_probs.device());
  const at::Tensor sums = (log_probs + offsets).view({-1});
  const auto [best, places] = sums.topk(std::min(width, sums.numel()));
  const at::Tensor scores = best.cpu(), where = places.cpu(),
                   own = log_probs.reshape({-1}).index_select(0, places).cpu();
  std::vector<BeamCandidate> found;
  for (int64_t i = 0; i < scores.numel(); ++i) {
    const float score = scores.const_data_ptr<float>()[i];
    const int64_t place = where.const_data_ptr<int64_t>()[i];
    if (!(score > kImpossible)) break;
    found.push_back({score, own.const_data_ptr<float>()[i], place / vocab, static_cast<int32_t>(place % vocab)});
  }
  std::sort(found.begin(), found.end(), Better);
  return found;
}

std::vector<BeamCandidate> BestCandidates(const at::Tensor& log_probs, absl::Span<const float> totals, int64_t width) {
  if (!log_probs.is_cpu()) return BestCandidatesByTopK(log_probs, totals, width);
  Best best(static_cast<size_t>(width));
  for (int64_t line = 0; line < log_probs.size(0); ++line) {
    best.AddRow(log_probs.const_data_ptr<float>() + line * log_probs.stride(0), log_probs.size(1), line,
                totals[static_cast<size_t>(line)]);
  }
  return best.Take();
}

std::vector<Choice> BestTokens(const at::Tensor& scores, absl::Span<const bool> with_log_probs) {
  const auto [best, places] = scores.max(1);
  const at::Tensor values = best.cpu(), tokens = places.cpu();
  at::Tensor log_probs;
  if (std::find(with_log_probs.begin(), with_log_probs.end(), true) != with_log_probs.end()) {
    log_probs = at::log_softmax(scores, -1).gather(1, places.unsqueeze(1)).cpu();
  }
  std::vector<Choice> found(static_cast<size_t>(scores.size(0)));
  for (size_t i = 0; i < found.size(); ++i) {
    if (!(values.const_data_ptr<float>()[i] > kImpossible)) continue;
    found[i].token = static_cast<int32_t>(tokens.const_data_ptr<int64_t>()[i]);
    if (with_log_probs[i]) found[i].log_prob = log_probs.const_data_ptr<float>()[i];
  }
  return found;
}

}  // namespace tenon::engine
