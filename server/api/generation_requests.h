// Requests that write texts, checked as far as they can be without a model: presence, ranges, and options that exclude
// each other whatever the base's own defaults are. The rest is the worker's to say, which knows the base.
#pragma once

#include "absl/status/status.h"
#include "tenon/v1/inference_service.pb.h"

namespace tenon::server {

inline constexpr int kMaxSummarizedTexts = 256;
inline constexpr int kMaxSummarySentences = 1000;

// FIELD_REQUIRED, FIELD_INVALID, TEXT_EMPTY, TEXT_TOO_LARGE, TEXT_NOT_UTF8, or UNSUPPORTED for sampling with beams. The
// error names the field by its path, such as `generation.top_p` or `texts[3]`.
absl::Status CheckGenerate(const v1::GenerateRequest& request);
absl::Status CheckStreamGenerate(const v1::StreamGenerateRequest& request);
absl::Status CheckSummarize(const v1::SummarizeRequest& request);

// A worker's error, its field as the path in the request: an option `top_p` is `generation.top_p`, and what is said of
// the model as a whole is said of `model_field`.
absl::Status NameRequestField(const absl::Status& status, const char* model_field);

}  // namespace tenon::server
