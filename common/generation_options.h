// How texts are written, checked as far as it can be without a model: ranges, and options that exclude each other
// whatever the base's own defaults are. One check for a call and for an evaluation that generates.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "tenon/v1/inference_service.pb.h"

namespace tenon {

inline constexpr int kMaxBadWords = 64;
inline constexpr int kMaxStopStrings = 16;
inline constexpr size_t kMaxPhraseBytes = 256;  // of a bad word or a stop string

// FIELD_INVALID, or UNSUPPORTED for sampling with beams, with the field behind `path`, such as `generation.`.
absl::Status CheckGenerationConfig(const v1::GenerationConfig& config, const std::string& path);

}  // namespace tenon
