#include "tests/worker/engine/generate/toy_decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <random>
#include <utility>

#include "common/formats/status.h"

namespace tenon::engine {
namespace {

template <typename Function>
at::Tensor Table(int64_t rows, int64_t vocab, Function&& next) {
  at::Tensor table = at::empty({rows, vocab}, at::TensorOptions().dtype(at::kFloat));
  float* data = table.mutable_data_ptr<float>();
  for (int64_t i = 0; i < table.numel(); ++i) data[i] = next();
  return table;
}

template <typename Function>
ToyModel Fill(int64_t vocab, Function&& next) {
  ToyModel model;
  model.vocab = vocab;
  model.last = Table(vocab, vocab, next);
  model.before = Table(vocab, vocab, next);
  model.place = Table(ToyModel::kPlaces, vocab, next);
  model.source = Table(ToyModel::kSources, vocab, next);
  return model;
}

}  // namespace

ToyModel ToyModel::Seeded(int64_t vocab, uint64_t seed, int32_t eos, float eos_bias) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 1);
  ToyModel model = Fill(vocab, [&] { return normal(random); });
  model.source.select(1, eos).add_(eos_bias);
  return model;
}

ToyModel ToyModel::Read(const std::string& file, int64_t vocab) {
  std::ifstream in(file, std::ios::binary);
  return Fill(vocab, [&] {
    float value = 0;
    in.read(reinterpret_cast<char*>(&value), sizeof value);
    return value;
  });
}

at::Tensor ToyModel::Logits(absl::Span<const int32_t> tokens, const std::vector<int32_t>& ids) const {
  const int32_t t = tokens.back(), u = tokens.size() > 1 ? tokens[tokens.size() - 2] : t;
  const int64_t sum = std::accumulate(ids.begin(), ids.end(), int64_t{0});
  return ((last[t] + before[u]) + place[static_cast<int64_t>(tokens.size()) % kPlaces]) + source[sum % kSources];
}

absl::Status ToyDecoder::Join(absl::Span<const DecoderSource> sources) {
  for (const DecoderSource& source : sources) {
    if (source.ids->empty()) return TenonError(Reason::kTextEmpty, "a source has no tokens");
    if (std::any_of(source.ids->begin(), source.ids->end(), [](int32_t id) { return id < 0; })) {
      return absl::InvalidArgumentError("a negative id");
    }
  }
  for (const DecoderSource& source : sources) lines_.push_back({source.ids, {}});
  if (counts_ != nullptr) counts_->joined += static_cast<int64_t>(sources.size());
  Count();
  return absl::OkStatus();
}

at::Tensor ToyDecoder::Step(absl::Span<const int32_t> tokens) {
  TORCH_CHECK(tokens.size() == lines_.size(), "a token for each line");
  std::vector<at::Tensor> rows;
  for (size_t i = 0; i < lines_.size(); ++i) {
    lines_[i].tokens.push_back(tokens[i]);
    rows.push_back(model_.Logits(lines_[i].tokens, *lines_[i].ids));
  }
  if (counts_ != nullptr) {
    ++counts_->steps;
    counts_->line_steps += lines();
  }
  return at::stack(rows);
}

void ToyDecoder::Select(absl::Span<const int64_t> parents) {
  std::vector<Line> selected;
  for (const int64_t parent : parents) selected.push_back(lines_.at(static_cast<size_t>(parent)));
  lines_ = std::move(selected);
  Count();
}

void ToyDecoder::Count() {
  if (counts_ == nullptr) return;
  counts_->lines = lines();
  counts_->most_lines = std::max(counts_->most_lines, lines());
}

}  // namespace tenon::engine
