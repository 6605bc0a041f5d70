// Whether a row's result can be believed.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/formats/status.h"

namespace tenon::runtime {

// RESULT_NOT_FINITE names `field`, the row's text.
inline absl::Status NotFinite(const std::string& field) {
  return TenonError(Reason::kResultNotFinite,
                    "the model's numbers for this text are not finite: the base or the adapter overflows", field);
}

// NotFinite when a model that overflows left NaN or an infinity in the result.
inline absl::Status CheckFinite(absl::Span<const float> values, const std::string& field) {
  if (std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); }))
    return absl::OkStatus();
  return NotFinite(field);
}

}  // namespace tenon::runtime
