#include "worker/engine/train/span_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace tenon::engine {
namespace {

at::Tensor Indices(const std::vector<int64_t>& values, const at::Device& device) {
  return at::tensor(values, at::kLong).to(device);
}

}  // namespace

SpanTargets PickSpans(const TokenRows& data, const MicroBatch& rows, const PackedBatch& batch, int64_t virtual_tokens) {
  SpanTargets targets;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<size_t>(rows[i]);
    const int64_t first = batch.offsets[i] + virtual_tokens;
    const std::vector<int64_t>& labels = data.labels[row];
    const bool answers = data.places[row].empty();
    for (const int64_t place : answers ? labels : data.places[row]) targets.tokens.push_back(first + place);
    targets.labels.insert(targets.labels.end(), labels.begin(), labels.end());
    targets.counts.push_back(static_cast<int64_t>(labels.size()));
    targets.offsets.push_back(first);
    targets.ends.push_back(batch.offsets[i + 1]);
  }
  return targets;
}

at::Tensor SumTagLoss(const at::Tensor& logits, const SpanTargets& targets) {
  const at::Tensor words = logits.index_select(0, Indices(targets.tokens, logits.device()));
  return at::cross_entropy_loss(words, Indices(targets.labels, logits.device()), {}, at::Reduction::Sum);
}

at::Tensor SumAnswerLoss(const at::Tensor& logits, const SpanTargets& targets) {
  at::Tensor sum;
  for (size_t row = 0; row < targets.offsets.size(); ++row) {
    const int64_t first = targets.offsets[row], tokens = targets.ends[row] - first;
    // [2, tokens]: of a beginning, and of an end.
    const at::Tensor own = logits.narrow(0, first, tokens).t();
    const std::vector<int64_t> places(targets.labels.begin() + static_cast<std::ptrdiff_t>(2 * row),
                                      targets.labels.begin() + static_cast<std::ptrdiff_t>(2 * row + 2));
    const at::Tensor loss = at::cross_entropy_loss(own, Indices(places, logits.device()), {}, at::Reduction::Mean);
    sum = sum.defined() ? sum + loss : loss;
  }
  return sum;
}

at::Tensor SumChainLoss(const at::Tensor& logits, const SpanTargets& targets, const AdapterTensors& adapter) {
  const at::Tensor& start = adapter.modules.at(kChainStart).weight;
  const at::Tensor& end = adapter.modules.at(kChainEnd).weight;
  const at::Tensor& transitions = adapter.modules.at(kChainTransitions).weight;
  const auto rows = static_cast<int64_t>(targets.counts.size());
  const int64_t longest = *std::max_element(targets.counts.begin(), targets.counts.end());
  // Rows side by side; behind a row's end its last word comes again, and is not counted.
  std::vector<int64_t> places, first_tags, last_tags, from, to;
  std::vector<uint8_t> counts;
  int64_t begin = 0;
  for (const int64_t count : targets.counts) {
    for (int64_t word = 0; word < longest; ++word) places.push_back(targets.tokens[begin + std::min(word, count - 1)]);
    first_tags.push_back(targets.labels[begin]);
    last_tags.push_back(targets.labels[begin + count - 1]);
    for (int64_t word = 1; word < count; ++word) {
      from.push_back(targets.labels[begin + word - 1]);
      to.push_back(targets.labels[begin + word]);
    }
    begin += count;
  }
  const auto index = [&](const std::vector<int64_t>& values) { return Indices(values, logits.device()); };
  const at::Tensor words = logits.index_select(0, index(places)).view({rows, longest, logits.size(1)});
  at::Tensor ways = start + words.select(1, 0);  // [rows, labels]
  for (int64_t word = 1; word < longest; ++word) {
    for (const int64_t count : targets.counts) counts.push_back(word < count ? 1 : 0);
    const at::Tensor goes_on = at::tensor(counts, at::kByte).to(logits.device(), at::kBool).unsqueeze(1);
    counts.clear();
    const at::Tensor next = at::logsumexp(ways.unsqueeze(2) + transitions, {1}) + words.select(1, word);
    ways = at::where(goes_on, next, ways);
  }
  const at::Tensor all = at::logsumexp(ways + end, {1}).sum();
  const at::Tensor tags = index(targets.labels).unsqueeze(1);
  at::Tensor right = logits.index_select(0, index(targets.tokens)).gather(1, tags).sum() +
                     start.index_select(0, index(first_tags)).sum() + end.index_select(0, index(last_tags)).sum();
  if (!from.empty()) {
    right = right + transitions.index_select(0, index(from)).gather(1, index(to).unsqueeze(1)).sum();
  }
  return all - right;
}

}  // namespace tenon::engine
