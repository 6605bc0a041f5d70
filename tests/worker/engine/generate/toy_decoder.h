// A small language model for tests of generation: what follows depends on a line's last two tokens, its length and its
// source, by tables. Deterministic, and the same numbers whatever else is in the batch.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "worker/engine/generate/decoder.h"

namespace tenon::engine {

// logits = ((last[t_n] + before[t_n-1]) + place[n mod 64]) + source[sum(ids) mod 16]; before a second token, t_n-1 is
// t_n.
struct ToyModel {
  static constexpr int64_t kPlaces = 64, kSources = 16;
  int64_t vocab = 0;
  at::Tensor last, before, place, source;  // [vocab, vocab] twice, [64, vocab], [16, vocab]; fp32

  // Normal numbers from the seed, the logits of `eos` raised by `eos_bias`.
  static ToyModel Seeded(int64_t vocab, uint64_t seed, int32_t eos = 1, float eos_bias = 0);
  // The four tables one after the other, as fp32.
  static ToyModel Read(const std::string& file, int64_t vocab);

  // [vocab], after these tokens.
  at::Tensor Logits(absl::Span<const int32_t> tokens, const std::vector<int32_t>& ids) const;
};

// What a test may ask of a decoder that a batch owns.
struct ToyCounts {
  int64_t steps = 0, lines = 0, most_lines = 0, joined = 0, line_steps = 0;
};

class ToyDecoder : public Decoder {
 public:
  explicit ToyDecoder(ToyModel model, ToyCounts* counts = nullptr) : model_(std::move(model)), counts_(counts) {}

  int64_t vocab_size() const override { return model_.vocab; }
  // A source that holds a negative id, or none, is refused.
  absl::Status Join(absl::Span<const DecoderSource> sources) override;
  int64_t lines() const override { return static_cast<int64_t>(lines_.size()); }
  at::Tensor Step(absl::Span<const int32_t> tokens) override;
  void Select(absl::Span<const int64_t> parents) override;

 private:
  struct Line {
    const std::vector<int32_t>* ids = nullptr;
    std::vector<int32_t> tokens;
  };

  void Count();

  const ToyModel model_;
  ToyCounts* const counts_;
  std::vector<Line> lines_;
};

}  // namespace tenon::engine
