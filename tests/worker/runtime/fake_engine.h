// An engine without torch, linked in place of the real one: every answer says which adapter, text and base it came
// from, and tests decide when things happen. Runs under the sanitizers.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "worker/engine/infer.h"
#include "worker/engine/train/trainer.h"

namespace tenon::testing {

// What the fake engine did and is told to do; one test at a time.
struct FakeEngine {
  std::atomic<int64_t> host_loads{0}, device_places{0}, device_live{0}, most_device_live{0};
  std::atomic<int64_t> trainer_slices{0};
  // Asked before each batch, on the device thread; may block.
  std::function<absl::Status(const std::vector<engine::InferRow>&)> on_infer;
  // Asked before each adapter is read, on a loader thread; may block.
  std::function<absl::Status(const std::string& name)> on_load;
  // Asked before each training slice.
  std::function<absl::Status(int64_t slice)> on_slice;
  // Of trainers that go on from a checkpoint.
  std::string notice;

  static FakeEngine& Get();
  // Counters to 0, hooks empty.
  void Reset();
};

// An adapter's folder is its name. `head-N` answers label N of 64, `plain` has no head, `large` takes 1 MB.
// Row values: a label row is one-hot over 64 labels; an embedding is {base number, adapter number or -1, tokens, first
// token}.
inline constexpr int64_t kFakeLabels = 64;
inline constexpr int64_t kFakeSlicesPerStep = 3;

// A text that starts with this number has NaN in its result.
inline constexpr int32_t kFakeOverflow = 999;

// First token id of a text that starts with the number `n`.
inline int32_t FakeToken(int32_t n) { return 1000 + n; }

}  // namespace tenon::testing
