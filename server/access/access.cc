#include "server/access/access.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace tenon::server {
namespace {

// `127.x.y.z`, `::1`, the mapped `::ffff:127.x.y.z` or `localhost`, without a port.
bool IsLoopbackHost(std::string host) {
  if (absl::StartsWith(host, "::ffff:")) host = host.substr(7);
  if (host == "::1" || host == "localhost") return true;
  if (!absl::StartsWith(host, "127.")) return false;
  for (const char c : host) {
    if (!absl::ascii_isdigit(c) && c != '.') return false;
  }
  return true;
}

// Host of `host:port` or `[host]:port`.
std::string HostOf(const std::string& address) {
  if (absl::StartsWith(address, "[")) return address.substr(1, address.find(']') - 1);
  return address.substr(0, address.rfind(':'));
}

}  // namespace

bool IsLoopbackPeer(const std::string& peer) {
  if (absl::StartsWith(peer, "unix:")) return true;
  if (absl::StartsWith(peer, "ipv4:")) return IsLoopbackHost(HostOf(peer.substr(5)));
  if (!absl::StartsWith(peer, "ipv6:")) return false;
  std::string address = peer.substr(5);
  // gRPC escapes the brackets.
  if (absl::StartsWith(address, "%5B")) {
    const size_t end = address.find("%5D");
    return end != std::string::npos && IsLoopbackHost(address.substr(3, end - 3));
  }
  return IsLoopbackHost(HostOf(address));
}

bool IsLoopbackAddress(const std::string& address) {
  return absl::StartsWith(address, "unix:") || IsLoopbackHost(HostOf(address));
}

bool IsRequestId(const std::string& text) {
  if (text.empty() || text.size() > 64) return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(c) && c != '.' && c != '_' && c != '-') return false;
  }
  return true;
}

}  // namespace tenon::server
