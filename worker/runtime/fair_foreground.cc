#include "worker/runtime/fair_foreground.h"

#include <algorithm>

namespace tenon::runtime {

FairForeground::FairForeground(const std::vector<ForegroundWork*>& parts, const Clock* clock) : clock_(*clock) {
  for (ForegroundWork* work : parts) parts_.push_back({work, false, absl::ZeroDuration()});
}

bool FairForeground::Ready(absl::Time now) {
  // Level with whom a newcomer starts: those that were ready all the while.
  absl::Duration level = absl::InfiniteDuration();
  for (const Part& part : parts_) {
    if (part.ready) level = std::min(level, part.used);
  }
  bool any = false;
  for (Part& part : parts_) {
    const bool ready = part.work->Ready(now);
    if (ready && !part.ready && level < absl::InfiniteDuration()) part.used = std::max(part.used, level);
    part.ready = ready;
    any = any || ready;
  }
  return any;
}

const char* FairForeground::RunSlice() {
  Part* next = nullptr;
  for (Part& part : parts_) {
    if (part.ready && (next == nullptr || part.used < next->used)) next = &part;
  }
  const absl::Time start = clock_.Now();
  const char* const kind = next->work->RunSlice();
  next->used += clock_.Now() - start;
  return kind;
}

absl::Time FairForeground::NextWake(absl::Time now) {
  absl::Time wake = absl::InfiniteFuture();
  for (const Part& part : parts_) wake = std::min(wake, part.work->NextWake(now));
  return wake;
}

}  // namespace tenon::runtime
