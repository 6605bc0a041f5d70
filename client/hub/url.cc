#include "client/hub/url.h"

#include <curl/curl.h>

#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::hub {
namespace {

using Handle = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

absl::Status Wrong(const std::string& url, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("'", ShownUrl(url), "' ", why));
}

std::string Part(CURLU* handle, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(handle, part, &text, flags) != CURLUE_OK) return "";
  std::string copy = text;
  curl_free(text);
  return copy;
}

absl::StatusOr<Handle> Parse(const std::string& url) {
  Handle handle(curl_url(), &curl_url_cleanup);
  if (curl_url_set(handle.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return Wrong(url, "is not an address.");
  return handle;
}

absl::StatusOr<Origin> OriginOf(CURLU* handle, const std::string& url) {
  Origin origin{absl::AsciiStrToLower(Part(handle, CURLUPART_SCHEME)),
                absl::AsciiStrToLower(Part(handle, CURLUPART_HOST)), Part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT)};
  if (origin.scheme != "https" && origin.scheme != "http") return Wrong(url, "is not an http or https address.");
  if (!Part(handle, CURLUPART_USER).empty() || !Part(handle, CURLUPART_PASSWORD).empty())
    return Wrong(url, "holds a user or password.");
  return origin;
}

}  // namespace

absl::StatusOr<Origin> ParseOrigin(const std::string& url) {
  ASSIGN_OR_RETURN(const Handle handle, Parse(url));
  return OriginOf(handle.get(), url);
}

absl::StatusOr<std::string> ResolveRedirect(const std::string& url, const std::string& location) {
  ASSIGN_OR_RETURN(const Handle handle, Parse(url));
  ASSIGN_OR_RETURN(const Origin from, OriginOf(handle.get(), url));
  // Setting a relative address resolves it against the one that is there.
  if (location.empty() || curl_url_set(handle.get(), CURLUPART_URL, location.c_str(), 0) != CURLUE_OK)
    return Wrong(location, "is not an address to be redirected to.");
  ASSIGN_OR_RETURN(const Origin to, OriginOf(handle.get(), location));
  if (from.scheme == "https" && to.scheme == "http")
    return Wrong(location, "is where an https address redirects to: not without encryption.");
  return Part(handle.get(), CURLUPART_URL);
}

bool IsClearText(const Origin& origin) {
  return origin.scheme == "http" && origin.host != "localhost" && origin.host != "[::1]" &&
         !absl::StartsWith(origin.host, "127.");
}

std::string EscapeUrl(const std::string& text, bool keep_slashes) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string escaped;
  for (const char c : text) {
    if (absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~' || (c == '/' && keep_slashes)) {
      escaped.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      escaped.append({'%', kHex[byte >> 4], kHex[byte & 15]});
    }
  }
  return escaped;
}

std::string ShownUrl(const std::string& url) {
  std::string shown = url.substr(0, url.find_first_of("?#"));
  const size_t host = shown.find("://");
  if (host == std::string::npos) return shown;
  const size_t at = shown.substr(0, shown.find('/', host + 3)).rfind('@');
  return at == std::string::npos ? shown : shown.erase(host + 3, at + 1 - host - 3);
}

}  // namespace tenon::hub
