#include "worker/engine/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/model/torch_util.h"

namespace tenon::engine {

std::string Device::ToString() const { return kind == Kind::kCpu ? "cpu" : absl::StrCat("cuda:", index); }

absl::StatusOr<Device> ParseDevice(const std::string& text) {
  if (text == "cpu") return Device{};
  Device device{Device::Kind::kCuda, 0};
  const std::string prefix = "cuda:";
  const bool numbered = text.size() > prefix.size() && text.compare(0, prefix.size(), prefix) == 0;
  if (numbered) {
    const std::string number = text.substr(prefix.size());
    if (number.find_first_not_of("0123456789") != std::string::npos || !absl::SimpleAtoi(number, &device.index)) {
      return TenonError(Reason::kOptionInvalid, absl::StrCat("device `", text, "` is not cpu, cuda or cuda:N"),
                        "device");
    }
  } else if (text != "cuda") {
    return TenonError(Reason::kOptionInvalid, absl::StrCat("device `", text, "` is not cpu, cuda or cuda:N"), "device");
  }
  absl::StatusOr<int> count =
      Guarded([]() -> absl::StatusOr<int> { return at::hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0; });
  const int devices = count.ok() ? *count : 0;
  if (device.index >= devices) {
    return TenonError(
        Reason::kOptionInvalid,
        absl::StrCat("device `", text, "`: this machine has ", devices, " CUDA devices that torch can use"), "device");
  }
  return device;
}

absl::StatusOr<Precision> ParsePrecision(const std::string& text) {
  if (text == "fp32") return Precision::kFp32;
  if (text == "bf16") return Precision::kBf16;
  if (text == "fp16" || text == "float16") {
    return TenonError(
        Reason::kOptionInvalid,
        absl::StrCat("precision `", text, "` is not offered: T5's states overflow in it; bf16 has the range of fp32"),
        "precision");
  }
  return TenonError(Reason::kOptionInvalid, absl::StrCat("precision `", text, "` is not fp32 or bf16"), "precision");
}

void SetThreads(int threads) {
  at::set_num_threads(threads);
  // Torch throws when the pool between operators has started already; then it is idle in this process anyway.
  Guarded([]() -> absl::Status {
    at::set_num_interop_threads(1);
    return absl::OkStatus();
  }).IgnoreError();
}

}  // namespace tenon::engine
