#include "worker/engine/model/decode/line_store.h"

#include <utility>

namespace tenon::engine {

int32_t LineStore::TakeSlot() {
  if (free_.empty()) {
    free_.push_back(static_cast<int32_t>(uses_.size()));
    uses_.push_back(0);
  }
  const int32_t slot = free_.back();
  free_.pop_back();
  uses_[static_cast<size_t>(slot)] = 1;
  return slot;
}

void LineStore::Add(std::shared_ptr<const SourceStates> source, const DeviceAdapter* adapter, int64_t tokens) {
  Line line;
  line.state.source = std::move(source);
  line.adapter = adapter;
  for (int64_t i = 0; i < tokens; ++i) line.state.slots.push_back(TakeSlot());
  lines_.push_back(std::move(line));
}

void LineStore::Extend() {
  for (Line& line : lines_) line.state.slots.push_back(TakeSlot());
}

void LineStore::Select(absl::Span<const int64_t> parents) {
  std::vector<Line> chosen;
  chosen.reserve(parents.size());
  for (const int64_t parent : parents) {
    chosen.push_back(lines_[static_cast<size_t>(parent)]);
    for (const int32_t slot : chosen.back().state.slots) ++uses_[static_cast<size_t>(slot)];
  }
  for (const Line& line : lines_) {
    for (const int32_t slot : line.state.slots) {
      if (--uses_[static_cast<size_t>(slot)] == 0) free_.push_back(slot);
    }
  }
  lines_ = std::move(chosen);
}

}  // namespace tenon::engine
