// The lines of a decoder: which slots hold each one's tokens, what it reads, whose weights it uses. Free of tensors'
// contents. Engine-internal, torch inside.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/model/decode/step_attention.h"

namespace tenon::engine {

class DeviceAdapter;

// Copies of a line share its tokens' slots, which are counted: a beam that is reordered, copied or dropped moves a few
// numbers and no keys or values.
class LineStore {
 public:
  struct Line {
    StepLine state;
    const DeviceAdapter* adapter = nullptr;
  };

  // A line with slots for `tokens` tokens that it begins with; `source` may be nullptr.
  void Add(std::shared_ptr<const SourceStates> source, const DeviceAdapter* adapter, int64_t tokens = 0);
  // A slot for one more token of every line.
  void Extend();
  // Line i becomes a copy of line parents[i].
  void Select(absl::Span<const int64_t> parents);

  const std::vector<Line>& lines() const { return lines_; }
  // All slots that there ever were.
  int64_t slots() const { return static_cast<int64_t>(uses_.size()); }
  int64_t slots_in_use() const { return slots() - static_cast<int64_t>(free_.size()); }

 private:
  int32_t TakeSlot();

  std::vector<Line> lines_;
  std::vector<int32_t> uses_;  // of each slot, by lines
  std::vector<int32_t> free_;
};

}  // namespace tenon::engine
