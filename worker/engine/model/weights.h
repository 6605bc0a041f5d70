// The weights of a Hugging Face checkpoint by name, each checked. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/formats/encoder_family.h"
#include "common/formats/safetensors.h"

namespace tenon::engine {

// Hands out tensors and remembers which were taken. An encoder's may have a prefix (formats::FindPrefix), and old
// checkpoints call a norm's weight and bias `gamma` and `beta`: all are read.
class WeightReader {
 public:
  WeightReader(const formats::Safetensors& file, at::Device device, at::ScalarType type, std::string prefix = "");

  // Tensor `name` (without prefix) of this shape on the device, converted, and finite. BASE_INVALID names it.
  absl::StatusOr<at::Tensor> Take(const std::string& name, const std::vector<int64_t>& shape);
  // The same in `type` and without the prefix: a task head's tensors.
  absl::StatusOr<at::Tensor> TakeHead(const std::string& name, const std::vector<int64_t>& shape, at::ScalarType type);
  bool Has(const std::string& name) const;
  // What Take converts to.
  at::ScalarType type() const { return type_; }

  // BASE_INVALID when the encoder has a tensor that nobody took: then config.json tells of another network. Heads of
  // other tasks (`cls.*`) are left alone.
  absl::Status CheckEncoderTaken(const formats::EncoderFamily& family) const;
  // The same for a network to which every tensor of the file belongs, but these.
  absl::Status CheckAllTaken(const std::set<std::string>& others) const;

 private:
  std::string FullName(const std::string& name) const;
  absl::StatusOr<at::Tensor> Read(const std::string& full_name, const std::vector<int64_t>& shape, at::ScalarType type);

  const formats::Safetensors& file_;
  at::Device device_;
  at::ScalarType type_;
  std::string prefix_;
  std::set<std::string> taken_;
};

// What stands before an encoder's tensors in this file.
std::string PrefixIn(const formats::Safetensors& file, const formats::EncoderConfig& config);

// Whether every element is a number; fp32 and wider are looked at before conversion, so that no overflow hides in it.
bool AllFinite(const at::Tensor& tensor);

}  // namespace tenon::engine
