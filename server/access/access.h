// Who calls, and from where.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace tenon::server {

// Tenant of every call made without a credential. Such calls are served on loopback unless the operator says otherwise.
inline constexpr char kDefaultTenant[] = "default";

// Whether a gRPC peer (`ipv4:127.0.0.1:40000`, `ipv6:%5B::1%5D:40000`, `unix:...`) is this machine.
bool IsLoopbackPeer(const std::string& peer);

// Whether a listening address (`127.0.0.1:7070`, `[::1]:0`, `localhost:7070`, `unix:/run/x`) is reachable from this
// machine alone.
bool IsLoopbackAddress(const std::string& address);

// What a client may send as `x-request-id`: 1 to 64 characters of [A-Za-z0-9._-], so that it can stand in a log line.
bool IsRequestId(const std::string& text);

}  // namespace tenon::server
