// Trying again what a network or a busy server broke.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tenon::hub {

struct RetryOptions {
  // Tries without any progress between them.
  int max_tries = 5;
  // Before the second try; doubles each time.
  absl::Duration first_wait = absl::Milliseconds(500);
  absl::Duration longest_wait = absl::Seconds(30);
  // A server that asks for more patience than this is not waited for.
  absl::Duration longest_retry_after = absl::Minutes(5);
  // Waits; true when the user cancelled meanwhile.
  std::function<bool(absl::Duration)> wait;
  // What is waited for and why, for people.
  std::function<void(const std::string&)> note;
};

// How one try ended.
struct Try {
  absl::Status status;
  bool again = false;  // whether it may be tried again
  bool progressed = false;
  absl::Duration retry_after = absl::ZeroDuration();  // what the server asked for
};

// Runs `attempt` until it is done, may not be tried again, or made no progress too often; its last status, or
// CANCELLED.
absl::Status Retry(const RetryOptions& options, const std::function<Try()>& attempt);

// Whether another try may help: 408, 429 and the 5xx that pass.
bool IsPassing(int http_status);

// `Retry-After`: seconds, or an HTTP date; zero when it cannot be read or has passed.
absl::Duration ParseRetryAfter(const std::string& header, absl::Time now);

}  // namespace tenon::hub
