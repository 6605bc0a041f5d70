#include "client/hub/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/hub/url.h"
#include "common/formats/status.h"

namespace tenon::hub {
namespace {

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxHeaderBytes = 256 << 10;

struct Transfer {
  const Sink* sink;
  const std::function<bool()>* cancelled;
  HttpReply reply;
  size_t header_bytes = 0;
  absl::Status sunk;
};

size_t OnHeader(char* data, size_t size, size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  const absl::string_view line = absl::StripAsciiWhitespace(absl::string_view(data, size * count));
  transfer.header_bytes += size * count;
  if (transfer.header_bytes > kMaxHeaderBytes) return 0;
  if (absl::StartsWith(line, "HTTP/")) {
    // After `100 Continue`, or a proxy's own reply, comes another head.
    transfer.reply = {};
    const size_t space = line.find(' ');
    if (space != absl::string_view::npos) transfer.reply.status = std::atoi(std::string(line.substr(space)).c_str());
  } else if (const size_t colon = line.find(':'); colon != absl::string_view::npos) {
    transfer.reply.headers[absl::AsciiStrToLower(line.substr(0, colon))] =
        std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
  }
  return size * count;
}

size_t OnBody(char* data, size_t size, size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  if (transfer.reply.status / 100 == 2)
    transfer.sunk = (*transfer.sink)(transfer.reply, absl::string_view(data, size * count));
  return transfer.sunk.ok() ? size * count : 0;
}

int OnProgress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& cancelled = *static_cast<Transfer*>(self)->cancelled;
  return cancelled && cancelled() ? 1 : 0;
}

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

Http::Http(HttpOptions options) : options_(std::move(options)), curl_(curl_easy_init()) {}

Http::~Http() { curl_easy_cleanup(curl_); }

absl::StatusOr<HttpReply> Http::GetOne(const std::string& url, const std::vector<std::string>& headers,
                                       const Sink& sink) {
  Transfer transfer{&sink, &options_.cancelled};
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> list(nullptr, &curl_slist_free_all);
  for (const std::string& header : headers) list.reset(curl_slist_append(list.release(), header.c_str()));
  char error[CURL_ERROR_SIZE] = "";
  CURL* const curl = curl_;
  curl_easy_reset(curl);
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list.get());
  // A proxy is not told what is meant for the host behind it.
  curl_easy_setopt(curl, CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));
  curl_easy_setopt(curl, CURLOPT_USERAGENT, options_.user_agent.c_str());
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(options_.connect)));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                   static_cast<long>(std::max<int64_t>(1, absl::ToInt64Seconds(options_.stall))));
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  const CURLcode code = curl_easy_perform(curl);
  if (!transfer.sunk.ok()) return transfer.sunk;
  if (code == CURLE_OK) return std::move(transfer.reply);
  if (code == CURLE_ABORTED_BY_CALLBACK) return TenonError(Reason::kCancelled, "Cancelled.");
  const std::string what =
      absl::StrCat("Cannot read ", ShownUrl(url), ": ", error[0] != '\0' ? error : curl_easy_strerror(code), ".");
  if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE || code == CURLE_URL_MALFORMAT)
    return absl::InvalidArgumentError(what);
  return TenonError(Reason::kHubUnavailable, what);
}

absl::StatusOr<HttpReply> Http::Get(const HttpRequest& request, const Sink& sink) {
  ASSIGN_OR_RETURN(const Origin home, ParseOrigin(request.url));
  std::string url = request.url;
  for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
    std::vector<std::string> headers = request.headers;
    ASSIGN_OR_RETURN(const Origin origin, ParseOrigin(url));
    if (!request.token.empty() && origin == home) headers.push_back("Authorization: Bearer " + request.token);
    ASSIGN_OR_RETURN(HttpReply reply, GetOne(url, headers, sink));
    if (!IsRedirect(reply.status)) return reply;
    ASSIGN_OR_RETURN(url, ResolveRedirect(url, reply.Header("location")));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(ShownUrl(request.url), " redirects more than ", kMaxRedirects, " times."));
}

}  // namespace tenon::hub
