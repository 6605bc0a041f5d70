// What a use case knows of the call it serves.
#pragma once

#include <functional>
#include <string>

#include "absl/time/time.h"

namespace tenon::server {

struct CallScope {
  std::string tenant;
  bool loopback = false;
  absl::Time deadline = absl::InfiniteFuture();
  // Whether nobody waits for the answer any more. Thread-safe; may be empty.
  std::function<bool()> cancelled;
  // Calls the function once when that happens, from any thread; at once when it has happened. May be empty.
  std::function<void(std::function<void()>)> when_cancelled;
};

}  // namespace tenon::server
