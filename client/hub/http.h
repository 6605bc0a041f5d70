// One GET over libcurl: redirects followed by hand, so that a token stays with the host it was meant for.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace tenon::hub {

struct HttpRequest {
  std::string url;
  std::vector<std::string> headers;  // `Range: bytes=5-`
  // Sent as a bearer token to the origin of `url` alone, whatever it redirects to.
  std::string token;
};

struct HttpReply {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  // The value, or "".
  std::string Header(const std::string& name) const {
    const auto it = headers.find(name);
    return it == headers.end() ? "" : it->second;
  }
};

// Takes the body of a reply that has a status of 2xx, piece by piece; an error ends the transfer.
using Sink = std::function<absl::Status(const HttpReply& head, absl::string_view piece)>;

struct HttpOptions {
  absl::Duration connect = absl::Seconds(15);
  // With not one byte for so long, the transfer is over.
  absl::Duration stall = absl::Seconds(60);
  std::string user_agent = "tenon";
  // Asked about once a second.
  std::function<bool()> cancelled;
};

// Keeps its connections. Not thread-safe.
class Http {
 public:
  explicit Http(HttpOptions options);
  ~Http();
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  // The last reply, whatever its status. HUB_UNAVAILABLE when the transfer broke or did not come about, CANCELLED,
  // INVALID_ARGUMENT for an address or certificate that must not be followed, or the sink's own error.
  absl::StatusOr<HttpReply> Get(const HttpRequest& request, const Sink& sink);

 private:
  absl::StatusOr<HttpReply> GetOne(const std::string& url, const std::vector<std::string>& headers, const Sink& sink);

  const HttpOptions options_;
  void* const curl_;
};

}  // namespace tenon::hub
