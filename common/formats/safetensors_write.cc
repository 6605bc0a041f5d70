#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/files.h"
#include "common/formats/safetensors.h"
#include "common/formats/safetensors_header.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"

namespace tenon::formats {
namespace {

// The reference writes wide types first, so that each tensor is aligned to its type, then sorts by name.
int Rank(DType dtype) {
  constexpr DType kNarrowToWide[] = {DType::kBool, DType::kU8,  DType::kI8,  DType::kI16, DType::kF16,
                                     DType::kBF16, DType::kI32, DType::kF32, DType::kF64, DType::kI64};
  return static_cast<int>(std::find(std::begin(kNarrowToWide), std::end(kNarrowToWide), dtype) -
                          std::begin(kNarrowToWide));
}

std::string Quoted(const std::string& text) { return nlohmann::json(text).dump(); }

absl::Status CheckTensor(const TensorToWrite& tensor) {
  const auto error = [&](const std::string& what) {
    return TenonError(Reason::kSafetensorsInvalid, absl::StrCat("tensor ", tensor.name, ": ", what), tensor.name);
  };
  if (tensor.name.empty() || tensor.name == "__metadata__") return error("this name is not allowed");
  if (!IsValidUtf8(tensor.name)) {
    return TenonError(Reason::kSafetensorsInvalid, "a tensor's name is not valid UTF-8");
  }
  int64_t size = ItemSize(tensor.view.dtype);
  for (const int64_t extent : tensor.view.shape) {
    if (extent < 0 || __builtin_mul_overflow(size, extent, &size)) return error("the shape's product overflows");
  }
  if (size != tensor.view.size_bytes) {
    return error(absl::StrCat("shape and dtype need ", size, " bytes, not ", tensor.view.size_bytes));
  }
  return absl::OkStatus();
}

// Keys in the order of the reference, no spaces between.
std::string Header(const std::vector<TensorToWrite>& tensors, const std::map<std::string, std::string>& metadata) {
  std::string json = "{\"__metadata__\":{";
  const char* comma = "";
  for (const auto& [key, value] : metadata) {
    absl::StrAppend(&json, comma, Quoted(key), ":", Quoted(value));
    comma = ",";
  }
  json += "}";
  int64_t at = 0;
  for (const TensorToWrite& tensor : tensors) {
    absl::StrAppend(&json, ",", Quoted(tensor.name), ":{\"dtype\":\"", DTypeName(tensor.view.dtype), "\",\"shape\":[");
    for (size_t i = 0; i < tensor.view.shape.size(); ++i)
      absl::StrAppend(&json, i == 0 ? "" : ",", tensor.view.shape[i]);
    absl::StrAppend(&json, "],\"data_offsets\":[", at, ",", at + tensor.view.size_bytes, "]}");
    at += tensor.view.size_bytes;
  }
  json += "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  return json;
}

}  // namespace

absl::StatusOr<std::string> BeginSafetensors(const std::vector<TensorToWrite>& tensors,
                                             std::map<std::string, std::string> metadata) {
  std::set<std::string> names;
  for (const TensorToWrite& tensor : tensors) {
    RETURN_IF_ERROR(CheckTensor(tensor));
    if (!names.insert(tensor.name).second) {
      return TenonError(Reason::kSafetensorsInvalid, absl::StrCat("tensor ", tensor.name, " is given twice"),
                        tensor.name);
    }
  }
  metadata.emplace("format", "pt");
  for (const auto& [key, value] : metadata) {
    if (!IsValidUtf8(key) || !IsValidUtf8(value)) {
      return TenonError(Reason::kSafetensorsInvalid, "metadata is not valid UTF-8");
    }
  }
  const std::string header = Header(tensors, metadata);
  std::string begin(8, '\0');
  for (int i = 0; i < 8; ++i) begin[i] = static_cast<char>((static_cast<uint64_t>(header.size()) >> (8 * i)) & 0xFF);
  return begin + header;
}

absl::Status WriteSafetensors(const std::filesystem::path& file, std::vector<TensorToWrite> tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorToWrite& a, const TensorToWrite& b) {
    const int rank_a = Rank(a.view.dtype), rank_b = Rank(b.view.dtype);
    return rank_a != rank_b ? rank_a > rank_b : a.name < b.name;
  });
  ASSIGN_OR_RETURN(const std::string begin, BeginSafetensors(tensors, metadata));
  std::vector<Chunk> chunks = {{begin.data(), begin.size()}};
  for (const TensorToWrite& tensor : tensors) {
    chunks.push_back({tensor.view.data, static_cast<size_t>(tensor.view.size_bytes)});
  }
  return WriteFileDurably(file, chunks);
}

}  // namespace tenon::formats
