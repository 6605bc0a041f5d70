// safetensors files: https://github.com/huggingface/safetensors (8-byte header length, JSON header, raw little-endian
// data).
//
// The reader trusts nothing: header size is capped, offsets must cover the data exactly (no holes, no overlaps, no
// trailing bytes), keys must be unique, shapes are multiplied with overflow checks, dtypes come from a list. Data is
// memory-mapped, not copied.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace tenon::formats {

enum class DType { kF32, kF16, kBF16, kF64, kI64, kI32, kI16, kI8, kU8, kBool };

// Bytes of one element.
int64_t ItemSize(DType dtype);
// `F32`, `BF16`, ... as written in headers.
const char* DTypeName(DType dtype);

// A tensor in a file: row-major, little-endian, at any alignment. `data` lives as long as the Safetensors it came from.
struct TensorView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  const uint8_t* data = nullptr;
  int64_t size_bytes = 0;
};

// An opened file, or the several of a sharded model. Immutable; safe to read from any thread.
class Safetensors {
 public:
  struct Limits {
    int64_t max_header_bytes = 100 << 20;
    int64_t max_tensors = 100'000;
    int max_rank = 8;
  };

  // Opens one file. SAFETENSORS_INVALID says what is wrong and where.
  static absl::StatusOr<std::shared_ptr<const Safetensors>> Open(const std::filesystem::path& file,
                                                                 const Limits& limits);
  // Opens `model.safetensors`, or every shard of `model.safetensors.index.json`, of a Hugging Face folder.
  static absl::StatusOr<std::shared_ptr<const Safetensors>> OpenModel(const std::filesystem::path& folder,
                                                                      const Limits& limits);
  // Checks a file given as bytes; views point into `bytes`.
  static absl::StatusOr<std::shared_ptr<const Safetensors>> Parse(std::string bytes, const Limits& limits);

  ~Safetensors();

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  // The tensor of this name; nullptr when there is none.
  const TensorView* Find(const std::string& name) const;
  // The `__metadata__` strings.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Gives the memory of pages that were read back to the system; who looks at a tensor again reads them from the file.
  void DropPages() const;

 private:
  Safetensors() = default;
  struct Mapping;
  // Checks one file's bytes and takes them; names of its tensors.
  absl::StatusOr<std::vector<std::string>> Add(std::unique_ptr<Mapping> mapping, const Limits& limits);

  std::vector<std::unique_ptr<Mapping>> mappings_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// A tensor to write; `data` holds size_bytes of row-major little-endian elements.
struct TensorToWrite {
  std::string name;
  TensorView view;
};

// Writes a file with `__metadata__` {"format":"pt"}: the same tensors give the same bytes, whatever their order here.
// The file is written to a temporary name, synced and renamed.
absl::Status WriteSafetensors(const std::filesystem::path& file, std::vector<TensorToWrite> tensors,
                              const std::map<std::string, std::string>& metadata);

}  // namespace tenon::formats
