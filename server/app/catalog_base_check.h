// Whether a folder is a base that workers can run, as far as its files say without loading it.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "tenon/internal/v1/records.pb.h"

namespace tenon::server {

// Reads config.json and the headers of the weights: every tensor of the encoder is there with its shape. Gives what the
// base's record says beside its files: model type, sizes, tasks, labels, pooling. BASE_INVALID, SAFETENSORS_INVALID or
// UNSUPPORTED.
absl::StatusOr<internal::v1::BaseRecord> InspectBase(const std::filesystem::path& folder);

}  // namespace tenon::server
