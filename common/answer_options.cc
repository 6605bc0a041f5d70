#include "common/answer_options.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon {

absl::Status CheckAnswerOptions(const v1::AnswerOptions& options, const std::string& path) {
  const auto check = [&](const char* option, int32_t value, int32_t most) {
    if (value >= 0 && value <= most) return absl::OkStatus();
    const std::string field = absl::StrCat(path, ".", option);
    return TenonError(Reason::kFieldInvalid, absl::StrCat(field, " must be from 1 to ", most, ", or 0 for the default"),
                      field);
  };
  RETURN_IF_ERROR(check("max_answer_tokens", options.max_answer_tokens(), 512));
  RETURN_IF_ERROR(check("doc_stride", options.doc_stride(), 1 << 20));
  RETURN_IF_ERROR(check("top_k", options.top_k(), 20));
  if (std::isfinite(options.no_answer_threshold())) return absl::OkStatus();
  const std::string field = path + ".no_answer_threshold";
  return TenonError(Reason::kFieldInvalid, field + " must be a finite number", field);
}

}  // namespace tenon
