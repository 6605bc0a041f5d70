#include "worker/engine/model/torch_util.h"

#include <ATen/ops/empty.h>

#include <cstring>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"

namespace tenon::engine {

at::Device TorchDevice(const Device& device) {
  return device.kind == Device::Kind::kCpu ? at::Device(at::kCPU)
                                           : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device.index));
}

at::ScalarType TorchType(Precision precision) { return precision == Precision::kFp32 ? at::kFloat : at::kBFloat16; }

absl::Status StatusOfException(const std::exception& error) {
  std::string text = error.what();
  if (const auto* torch = dynamic_cast<const c10::Error*>(&error)) text = torch->what_without_backtrace();
  text = text.substr(0, text.find('\n'));
  const bool memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
                      dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
                      text.find("not enough memory") != std::string::npos;
  return TenonError(memory ? Reason::kOutOfMemory : Reason::kInternal, absl::StrCat("torch: ", text));
}

namespace {

std::optional<at::ScalarType> FloatType(formats::DType dtype) {
  switch (dtype) {
    case formats::DType::kF32:
      return at::kFloat;
    case formats::DType::kF16:
      return at::kHalf;
    case formats::DType::kBF16:
      return at::kBFloat16;
    case formats::DType::kF64:
      return at::kDouble;
    default:
      return std::nullopt;
  }
}

}  // namespace

absl::StatusOr<at::Tensor> ToTensor(const formats::TensorView& view, const at::Device& device, at::ScalarType type) {
  const std::optional<at::ScalarType> stored = FloatType(view.dtype);
  if (!stored) {
    return TenonError(Reason::kSafetensorsInvalid, absl::StrCat("a weight has type ", formats::DTypeName(view.dtype),
                                                                "; F32, F16, BF16 and F64 are read"));
  }
  // Mapped files may place a tensor at any byte: copy the bytes first, then convert aligned memory.
  at::Tensor copy = at::empty(view.shape, at::TensorOptions().dtype(*stored));
  if (view.size_bytes > 0) std::memcpy(copy.mutable_data_ptr(), view.data, static_cast<size_t>(view.size_bytes));
  return copy.to(device, type);
}

int64_t TensorBytes(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.numel() * static_cast<int64_t>(tensor.element_size()) : 0;
}

}  // namespace tenon::engine
