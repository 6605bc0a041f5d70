// Where tensors live and in which number format. Free of torch.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace tenon::engine {

struct Device {
  enum class Kind { kCpu, kCuda };
  Kind kind = Kind::kCpu;
  int index = 0;

  bool operator==(const Device&) const = default;
  std::string ToString() const;  // `cpu`, `cuda:0`
};

// `cpu`, `cuda` or `cuda:N`; OPTION_INVALID when this machine does not have it.
absl::StatusOr<Device> ParseDevice(const std::string& text);

enum class Precision { kFp32, kBf16 };

// `fp32`, `bf16`.
absl::StatusOr<Precision> ParsePrecision(const std::string& text);

// Sets torch's thread counts for the process: `threads` within an operator, one between. Call once, before any tensor.
void SetThreads(int threads);

// Runs a piece of work while nothing else uses the device, and waits for it; one that is empty stands for "at once".
using RunAlone = std::function<void(const std::function<void()>& work)>;

}  // namespace tenon::engine
