#include "worker/engine/train/batch_plan.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "worker/engine/train/random.h"

namespace tenon::engine {
namespace {

// A stretch is at most this many batches, and at most a quarter of the data so that small sets are still mixed.
constexpr int64_t kMaxStretch = 50;

std::vector<MicroBatch> Cut(const std::vector<int64_t>& order, int64_t size) {
  std::vector<MicroBatch> batches;
  for (auto it = order.begin(); it != order.end();) {
    const auto end = it + std::min<int64_t>(size, order.end() - it);
    batches.emplace_back(it, end);
    it = end;
  }
  return batches;
}

}  // namespace

BatchPlan::BatchPlan(const formats::TrainOptions& options, std::vector<int64_t> lengths)
    : options_(options), lengths_(std::move(lengths)) {
  const auto rows = static_cast<int64_t>(lengths_.size());
  batches_per_epoch_ = (rows + options_.batch_size - 1) / options_.batch_size;
  steps_per_epoch_ = formats::StepsPerEpoch(options_, rows);
  total_steps_ = formats::TotalSteps(options_, rows);
}

StepPlan BatchPlan::Step(int64_t step) {
  const int64_t epoch = (step - 1) / steps_per_epoch_;
  if (epoch != epoch_) MakeEpoch(epoch);
  return steps_[(step - 1) % steps_per_epoch_];
}

int64_t BatchPlan::MicroBatchesBefore(int64_t step) const {
  const int64_t epochs = (step - 1) / steps_per_epoch_;
  return epochs * batches_per_epoch_ + (step - 1) % steps_per_epoch_ * options_.gradient_accumulation_steps;
}

void BatchPlan::MakeEpoch(int64_t epoch) {
  epoch_ = epoch;
  const auto rows = static_cast<int64_t>(lengths_.size());
  std::vector<int64_t> order(rows);
  std::iota(order.begin(), order.end(), 0);
  CounterRandom random(StreamKey(options_.seed, Stream::kPlan, {static_cast<uint64_t>(epoch)}));
  std::vector<MicroBatch> batches;
  if (options_.shuffle) order = Permutation(rows, random);
  if (options_.shuffle && options_.group_by_length) {
    const int64_t stretch = std::clamp<int64_t>(rows / (options_.batch_size * 4), 1, kMaxStretch) * options_.batch_size;
    for (int64_t begin = 0; begin < rows; begin += stretch) {
      const auto end = order.begin() + std::min(begin + stretch, rows);
      std::stable_sort(order.begin() + begin, end, [&](int64_t a, int64_t b) { return lengths_[a] > lengths_[b]; });
    }
    batches = Cut(order, options_.batch_size);
    Shuffle(batches, random);
  } else {
    batches = Cut(order, options_.batch_size);
  }
  steps_.clear();
  for (size_t i = 0; i < batches.size(); ++i) {
    if (i % options_.gradient_accumulation_steps == 0) steps_.emplace_back();
    steps_.back().push_back(std::move(batches[i]));
  }
}

std::vector<MicroBatch> BatchesByTokens(const std::vector<int64_t>& lengths, int64_t max_tokens, int64_t max_rows) {
  std::vector<int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return lengths[a] < lengths[b]; });
  std::vector<MicroBatch> batches;
  int64_t tokens = 0;
  for (const int64_t row : order) {
    const bool full = batches.empty() || tokens + lengths[row] > max_tokens ||
                      static_cast<int64_t>(batches.back().size()) == max_rows;
    if (full) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(row);
    tokens += lengths[row];
  }
  return batches;
}

}  // namespace tenon::engine
