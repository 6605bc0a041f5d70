#include "worker/engine/model/decode/line_store.h"

#include <utility>

namespace tenon::engine {

void LineStore::Add(std::shared_ptr<const SourceStates> source, const DeviceAdapter* adapter) {
  Line line;
  line.state.source = std::move(source);
  line.adapter = adapter;
  lines_.push_back(std::move(line));
}

void LineStore::Extend() {
  for (Line& line : lines_) {
    if (free_.empty()) {
      free_.push_back(static_cast<int32_t>(uses_.size()));
      uses_.push_back(0);
    }
    const int32_t slot = free_.back();
    free_.pop_back();
    uses_[static_cast<size_t>(slot)] = 1;
    line.state.slots.push_back(slot);
  }
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
