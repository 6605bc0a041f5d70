// The tensors of one adapter file. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/formats/safetensors.h"
#include "worker/engine/adapter/tensors.h"

namespace tenon::engine {

// ADAPTER_INVALID.
absl::Status InvalidAdapter(const std::string& message, const std::string& key);

// The text of one of a folder's JSON files. ADAPTER_INVALID where it cannot be read or is above 4 MiB.
absl::StatusOr<std::string> ReadConfigText(const std::filesystem::path& file);

// Each tensor is taken once, and none may stay behind. Errors are ADAPTER_INVALID and name the key.
class AdapterFile {
 public:
  static absl::StatusOr<AdapterFile> Open(const std::filesystem::path& file);

  const std::map<std::string, formats::TensorView>& tensors() const { return file_->tensors(); }
  bool Has(const std::string& key) const { return file_->Find(key) != nullptr; }
  // fp32, in host memory, finite. A dimension of -1 in `shape` may be anything above 0.
  absl::StatusOr<at::Tensor> Take(const std::string& key, const std::vector<int64_t>& shape);
  // `key.weight` [out, in] and, with `has_bias`, `key.bias` [out].
  absl::StatusOr<SavedModule> TakeModule(const std::string& key, int64_t out, int64_t in, bool has_bias = true);
  absl::Status CheckAllTaken() const;

 private:
  explicit AdapterFile(std::shared_ptr<const formats::Safetensors> file) : file_(std::move(file)) {}
  std::shared_ptr<const formats::Safetensors> file_;
  std::set<std::string> taken_;
};

}  // namespace tenon::engine
