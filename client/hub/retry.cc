#include "client/hub/retry.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/formats/status.h"

namespace tenon::hub {

absl::Status Retry(const RetryOptions& options, const std::function<Try()>& attempt) {
  absl::Duration backoff = options.first_wait;
  for (int tries = 1;; ++tries) {
    const Try result = attempt();
    if (result.status.ok() || !result.again) return result.status;
    if (result.progressed) {
      tries = 1;
      backoff = options.first_wait;
    }
    if (tries >= options.max_tries) return result.status;
    if (result.retry_after > options.longest_retry_after) {
      return Annotate(result.status,
                      absl::StrCat("Asked to come back in ", absl::FormatDuration(result.retry_after), ". "));
    }
    const absl::Duration wait = std::max(backoff, result.retry_after);
    if (options.note) {
      options.note(
          absl::StrCat(std::string(result.status.message()), " Trying again in ", absl::FormatDuration(wait), "."));
    }
    if (options.wait(wait)) return TenonError(Reason::kCancelled, "Cancelled.");
    backoff = std::min(2 * backoff, options.longest_wait);
  }
}

bool IsPassing(int http_status) {
  return http_status == 408 || http_status == 429 || http_status == 500 || http_status == 502 || http_status == 503 ||
         http_status == 504;
}

absl::Duration ParseRetryAfter(const std::string& header, absl::Time now) {
  int64_t seconds = 0;
  if (absl::SimpleAtoi(header, &seconds)) return absl::Seconds(std::max<int64_t>(0, seconds));
  absl::Time at;
  if (!absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", header, &at, nullptr)) return absl::ZeroDuration();
  return std::max(absl::ZeroDuration(), at - now);
}

}  // namespace tenon::hub
