// Several queues of inference as one: encoder batches and decode steps share the foreground's part of the device.
#pragma once

#include <vector>

#include "common/clock.h"
#include "worker/runtime/device_loop.h"

namespace tenon::runtime {

// Of those that are ready, the one that has used least device time goes next, so that a flood of encoder batches leaves
// decoding half of the time, and the other way round, whatever a slice of each takes. Who comes back from a pause
// starts level with the others: a pause buys no burst. Called on the device thread alone.
class FairForeground final : public ForegroundWork {
 public:
  // `parts` must outlive this.
  FairForeground(const std::vector<ForegroundWork*>& parts, const Clock* clock);

  bool Ready(absl::Time now) override;
  const char* RunSlice() override;
  absl::Time NextWake(absl::Time now) override;

 private:
  struct Part {
    ForegroundWork* work = nullptr;
    bool ready = false;  // at the last Ready
    absl::Duration used;
  };
  const Clock& clock_;
  std::vector<Part> parts_;
};

}  // namespace tenon::runtime
