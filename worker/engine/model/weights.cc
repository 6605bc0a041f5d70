#include "worker/engine/model/weights.h"

#include <ATen/ops/isfinite.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/engine/model/torch_util.h"

namespace tenon::engine {

bool AllFinite(const at::Tensor& tensor) { return at::isfinite(tensor).all().item<bool>(); }

WeightReader::WeightReader(const formats::Safetensors& file, at::Device device, at::ScalarType type, std::string prefix)
    : file_(file), device_(device), type_(type), prefix_(std::move(prefix)) {}

std::string PrefixIn(const formats::Safetensors& file, const formats::EncoderConfig& config) {
  return formats::FindPrefix(config, [&](const std::string& name) { return file.Find(name) != nullptr; });
}

std::string WeightReader::FullName(const std::string& name) const {
  std::string full = prefix_ + name;
  if (file_.Find(full) != nullptr || !absl::StrContains(name, "LayerNorm.")) return full;
  const std::string stem = full.substr(0, full.rfind('.') + 1);
  std::string old = stem + (absl::EndsWith(name, ".weight") ? "gamma" : "beta");
  return file_.Find(old) != nullptr ? old : full;
}

bool WeightReader::Has(const std::string& name) const { return file_.Find(FullName(name)) != nullptr; }

absl::StatusOr<at::Tensor> WeightReader::Take(const std::string& name, const std::vector<int64_t>& shape) {
  return Read(FullName(name), shape, type_);
}

absl::StatusOr<at::Tensor> WeightReader::TakeHead(const std::string& name, const std::vector<int64_t>& shape,
                                                  at::ScalarType type) {
  return Read(name, shape, type);
}

absl::StatusOr<at::Tensor> WeightReader::Read(const std::string& full_name, const std::vector<int64_t>& shape,
                                              at::ScalarType type) {
  const formats::TensorView* view = file_.Find(full_name);
  if (view == nullptr) {
    return TenonError(Reason::kBaseInvalid, absl::StrCat("model.safetensors lacks the tensor ", full_name), full_name);
  }
  if (view->shape != shape) {
    return TenonError(Reason::kBaseInvalid,
                      absl::StrCat("tensor ", full_name, " has shape [", absl::StrJoin(view->shape, ", "),
                                   "], config.json says [", absl::StrJoin(shape, ", "), "]"),
                      full_name);
  }
  absl::StatusOr<at::Tensor> tensor = ToTensor(*view, at::Device(at::kCPU), at::kFloat);
  if (!tensor.ok())
    return TenonError(Reason::kBaseInvalid, absl::StrCat("tensor ", full_name, " is not of a float type"), full_name);
  if (!AllFinite(*tensor)) {
    return TenonError(Reason::kBaseInvalid, absl::StrCat("tensor ", full_name, " has values that are not finite"),
                      full_name);
  }
  taken_.insert(full_name);
  return tensor->to(device_, type);
}

namespace {

absl::Status LeftOver(const std::string& name) {
  return TenonError(Reason::kBaseInvalid, absl::StrCat("tensor ", name, " has no place in the network of config.json"),
                    name);
}

}  // namespace

absl::Status WeightReader::CheckAllTaken(const std::set<std::string>& others) const {
  for (const auto& [name, view] : file_.tensors()) {
    if (taken_.count(name) == 0 && others.count(name) == 0) return LeftOver(name);
  }
  return absl::OkStatus();
}

absl::Status WeightReader::CheckEncoderTaken(const formats::EncoderFamily& family) const {
  for (const auto& [name, view] : file_.tensors()) {
    if (taken_.count(name) > 0 || !absl::StartsWith(name, prefix_)) continue;
    if (family.OwnsTensor(name.substr(prefix_.size()))) return LeftOver(name);
  }
  return absl::OkStatus();
}

}  // namespace tenon::engine
