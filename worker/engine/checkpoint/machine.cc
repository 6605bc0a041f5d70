#include <ATen/Parallel.h>

#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/engine/checkpoint/checkpoint.h"

namespace tenon::engine {
namespace {

std::string CpuModel() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!absl::StartsWith(line, "model name")) continue;
    return std::string(absl::StripAsciiWhitespace(line.substr(line.find(':') + 1)));
  }
  return "unknown CPU";
}

}  // namespace

std::string Machine::ToString() const { return absl::StrCat(device, ", ", threads, " threads, ", precision); }

Machine ThisMachine(const at::Device& device, Precision precision) {
  return {device.is_cpu() ? CpuModel() : std::string("cuda"), at::get_num_threads(),
          precision == Precision::kFp32 ? "fp32" : "bf16"};
}

}  // namespace tenon::engine
