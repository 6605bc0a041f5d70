// One request's search, as the batch sees it. Free of torch.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/generate/sequence.h"

namespace tenon::engine {

// Starts with one line, however many it will have: they are equal until the first token. Each step adds a token to
// every line, or drops it.
class Search {
 public:
  virtual ~Search() = default;
  virtual int64_t lines() const = 0;
  // The whole sequence of a line, beginning with what the decoder starts from.
  virtual absl::Span<const int32_t> tokens(int64_t line) const = 0;
  // After a step: the line that the new line i continues.
  virtual const std::vector<int64_t>& parents() const = 0;
  // No line goes on.
  virtual bool done() const = 0;
  // What was written, once done; texts are left empty.
  virtual std::vector<GeneratedSequence> Take() = 0;
};

}  // namespace tenon::engine
