// The JSON header of a safetensors file, checked but not yet tied to data. Internal to common/formats.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/safetensors.h"

namespace tenon::formats {

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  int64_t begin = 0;  // bytes from the start of the data
  int64_t end = 0;
};

struct SafetensorsHeader {
  // By place in the data. They cover [0, data_bytes) without holes or overlaps, each with the size its shape and dtype
  // say.
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;
};

// `data_bytes`: length of what follows the header. SAFETENSORS_INVALID, or UNSUPPORTED for a dtype that we do not read.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(const char* json, int64_t json_bytes, int64_t data_bytes,
                                                         const Safetensors::Limits& limits);

// How a file with these tensors begins, in this order: the header's length, and the header, to which `metadata` gets
// {"format":"pt"}. The tensors' data is not looked at. SAFETENSORS_INVALID.
absl::StatusOr<std::string> BeginSafetensors(const std::vector<TensorToWrite>& tensors,
                                             std::map<std::string, std::string> metadata);

}  // namespace tenon::formats
