// Small bridges between torch and the rest of the engine. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <type_traits>

#include "absl/status/statusor.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "worker/engine/device.h"

namespace tenon::engine {

at::Device TorchDevice(const Device& device);
at::ScalarType TorchType(Precision precision);

// The status that stands for an exception of torch: OUT_OF_MEMORY where it is that, else INTERNAL with the first line
// of its text.
absl::Status StatusOfException(const std::exception& error);

// Calls `function`, which returns absl::Status or StatusOr, and turns what torch throws into a status. Every public
// function of the engine that runs torch goes through here: no exception leaves it.
template <typename Function>
std::invoke_result_t<Function> Guarded(Function&& function) {
  try {
    return function();
  } catch (const std::exception& error) {
    return StatusOfException(error);
  }
}

// A copy of a file's tensor on `device`, converted to `type`. F32, F16, BF16 and F64 tensors only: SAFETENSORS_INVALID
// otherwise.
absl::StatusOr<at::Tensor> ToTensor(const formats::TensorView& view, const at::Device& device, at::ScalarType type);

// Bytes that a tensor's elements take.
int64_t TensorBytes(const at::Tensor& tensor);

}  // namespace tenon::engine
