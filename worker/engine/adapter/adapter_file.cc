#include "worker/engine/adapter/adapter_file.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/formats/files.h"
#include "common/formats/status.h"
#include "worker/engine/model/torch_util.h"
#include "worker/engine/model/weights.h"

namespace tenon::engine {

absl::Status InvalidAdapter(const std::string& message, const std::string& key) {
  return TenonError(Reason::kAdapterInvalid, message, key);
}

absl::StatusOr<std::string> ReadConfigText(const std::filesystem::path& file) {
  return formats::ReadFile(file, 4 << 20, Reason::kAdapterInvalid);
}

absl::StatusOr<AdapterFile> AdapterFile::Open(const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(auto tensors, formats::Safetensors::Open(file, formats::Safetensors::Limits{}));
  return AdapterFile(std::move(tensors));
}

absl::StatusOr<at::Tensor> AdapterFile::Take(const std::string& key, const std::vector<int64_t>& shape) {
  const formats::TensorView* view = file_->Find(key);
  if (view == nullptr) return InvalidAdapter(absl::StrCat("the adapter lacks the tensor ", key), key);
  bool fits = view->shape.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) {
    fits = view->shape[i] > 0 && (shape[i] < 0 || view->shape[i] == shape[i]);
  }
  if (!fits) {
    return InvalidAdapter(absl::StrCat("tensor ", key, " has shape [", absl::StrJoin(view->shape, ", "),
                                       "], expected [", absl::StrJoin(shape, ", "), "]"),
                          key);
  }
  absl::StatusOr<at::Tensor> tensor = ToTensor(*view, at::Device(at::kCPU), at::kFloat);
  if (!tensor.ok()) return InvalidAdapter(absl::StrCat("tensor ", key, " is not of a float type"), key);
  if (!AllFinite(*tensor)) return InvalidAdapter(absl::StrCat("tensor ", key, " has values that are not finite"), key);
  taken_.insert(key);
  return tensor;
}

absl::StatusOr<SavedModule> AdapterFile::TakeModule(const std::string& key, int64_t out, int64_t in, bool has_bias) {
  SavedModule module;
  ASSIGN_OR_RETURN(module.weight, Take(key + ".weight", {out, in}));
  if (!has_bias) return module;
  ASSIGN_OR_RETURN(module.bias, Take(key + ".bias", {module.weight.size(0)}));
  return module;
}

absl::Status AdapterFile::CheckAllTaken() const {
  for (const auto& [key, view] : file_->tensors()) {
    if (taken_.count(key) == 0) {
      return InvalidAdapter(
          absl::StrCat("tensor ", key, " belongs to nothing that adapter_config.json or the base names"), key);
    }
  }
  return absl::OkStatus();
}

}  // namespace tenon::engine
