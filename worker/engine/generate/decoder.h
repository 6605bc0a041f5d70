// What generation asks of a model: next-token logits for a batch of lines that grow one token a step. Each family of
// models has its own; the search knows no other way into a model. Engine-internal: it shows tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/engine/adapter/adapter.h"

namespace tenon::engine {

// What a line is written from, and with whose weights. Both must outlive the line and its copies.
struct DecoderSource {
  // The encoder's input, with special tokens; not empty. Of a decoder alone, which reads its prompt as what it has
  // written: the prompt but for its last token, which the first step is given.
  const std::vector<int32_t>* ids = nullptr;
  const DeviceAdapter* adapter = nullptr;  // nullptr: the base alone; its virtual tokens stand before `ids`
};

// A batch of lines, each one sequence being written; lines of different ages live side by side. What a line gives does
// not depend on its neighbours beyond rounding. Not thread-safe. Everything but Join() may throw c10::Error, as torch
// does.
class Decoder {
 public:
  virtual ~Decoder() = default;

  virtual int64_t vocab_size() const = 0;

  // Appends one line a source, after those that are there. On an error nothing was appended; TEXT_EMPTY for a source
  // without tokens where there must be some.
  virtual absl::Status Join(absl::Span<const DecoderSource> sources) = 0;

  virtual int64_t lines() const = 0;

  // Appends tokens[i] to line i and gives what may follow: logits [lines, vocab], fp32. A line's first token is the one
  // that its model starts with, or the last of its prompt. The tensor is the caller's to change.
  virtual at::Tensor Step(absl::Span<const int32_t> tokens) = 0;

  // Line i becomes a copy of line parents[i]: beams are reordered, copied and dropped, and lines that nobody names are
  // free. Afterwards there are parents.size() lines.
  virtual void Select(absl::Span<const int64_t> parents) = 0;
};

}  // namespace tenon::engine
