// Web addresses, taken apart by libcurl itself, so that what is checked is what is asked.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace tenon::hub {

// Who answers an address. A token belongs to one origin.
struct Origin {
  std::string scheme;  // `https`, `http`
  std::string host;
  std::string port;
  friend bool operator==(const Origin&, const Origin&) = default;
};

// INVALID_ARGUMENT when it is no http or https address, or holds a user or password.
absl::StatusOr<Origin> ParseOrigin(const std::string& url);

// Where a redirect of `url` leads. `location` may be relative. INVALID_ARGUMENT as above, and for a step from https
// down to http.
absl::StatusOr<std::string> ResolveRedirect(const std::string& url, const std::string& location);

// Whether what is sent to it can be read on the way: plain http, unless to this machine.
bool IsClearText(const Origin& origin);

// Percent-encodes all but letters, digits and `-._~`; `/` too, unless `keep_slashes`.
std::string EscapeUrl(const std::string& text, bool keep_slashes);

// Without user and password, and without query and fragment, which in signed addresses are a secret: what errors may
// show.
std::string ShownUrl(const std::string& url);

}  // namespace tenon::hub
