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

// A sequence that a fake decoder writes.
struct FakeLine {
  std::string base;          // digest
  int64_t answer = -1;       // the adapter's, -1 for none
  std::vector<int32_t> ids;  // source
  int64_t written = 0;       // tokens, before this step
};

// What the fake engine did and is told to do; one test at a time.
struct FakeEngine {
  std::atomic<int64_t> host_loads{0}, device_places{0}, device_live{0}, most_device_live{0};
  std::atomic<int64_t> trainer_slices{0};
  // Asked before each batch, on the device thread; may block.
  std::function<absl::Status(const std::vector<engine::InferRow>&)> on_infer;
  // Asked before each adapter is read, on a loader thread; may block.
  std::function<absl::Status(const std::string& name)> on_load;
  // Of decoders: how many exist, and what they did.
  std::atomic<int64_t> decoders_live{0}, steps{0}, joins{0};
  // Asked before sources join a decoder, with how many lines it has, and before each step; on the device thread, may
  // block.
  std::function<absl::Status(int64_t lines, const std::vector<FakeLine>& joining)> on_join;
  std::function<absl::Status(const std::vector<FakeLine>& lines)> on_step;
  // Told when a trainer is made, on the preparing thread; may block.
  std::function<void(const std::function<bool()>& cancelled)> on_create;
  // Asked before each training slice.
  std::function<absl::Status(int64_t slice)> on_slice;
  // Of trainers that go on from a checkpoint.
  std::string notice;

  static FakeEngine& Get();
  // Counters to 0, hooks empty.
  void Reset();
};

// An adapter's folder is its name. `head-N` answers label N of 64, `limit-N` does and reads N tokens at most,
// `template-N` does and has the template `{input} 77`, `scorer-N` scores a sentence by the
// number it begins with and reads N sentences beside it, `plain` has no head, `large` takes 1 MB. A base's folder:
// `classifier` has labels a and b; one that holds `writer` generates.
//
// A writer's reply is the numbers of its source in order, behind 900 + N with the adapter `head-N`; sampling puts
// seed mod 100 before all. A source with the word `on` is written on with 1 for as long as is allowed; where 999 would
// stand, no token is possible. A target's tokens have the log-probability -0.5 each, NaN for 999; those that the reply
// has in their place are foreseen.
// Row values: a label row is one-hot over 64 labels; an embedding is {base number, adapter number or -1, tokens, first
// token}.
inline constexpr int64_t kFakeLabels = 64;
inline constexpr int64_t kFakePositions = 24;  // of a base with `writer-alone` in its name, which is a decoder alone
inline constexpr int64_t kFakeSlicesPerStep = 3;

// A text that starts with this number has NaN in its result, and a writer that reads it anywhere overflows.
inline constexpr int32_t kFakeOverflow = 999;

// First token id of a text that starts with the number `n`.
inline int32_t FakeToken(int32_t n) { return 1000 + n; }

inline constexpr int32_t kFakeOn = 2, kFakeEos = 3;  // tokens of `on`, and of a reply's end

// N of the adapter `head-N`.
int64_t FakeAnswer(const engine::DeviceAdapter& adapter);

}  // namespace tenon::testing
