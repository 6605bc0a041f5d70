// Options of a search for answers, which calls and evaluations share.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "tenon/v1/inference_service.pb.h"

namespace tenon {

// FIELD_INVALID names the option behind `path`.
absl::Status CheckAnswerOptions(const v1::AnswerOptions& options, const std::string& path);

}  // namespace tenon
