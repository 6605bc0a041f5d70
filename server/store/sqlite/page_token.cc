#include "server/store/sqlite/page_token.h"

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/digest.h"
#include "common/formats/status.h"

namespace tenon::server {
namespace {

constexpr size_t kCheckSize = 16;
constexpr char kSeparator = '\0';

// Not a secret: it tells a token of another list, or a mistyped one, from ours.
std::string Check(const ListQuery& query, const std::string& payload) {
  std::string text;
  for (const std::string& part :
       {query.tenant, query.kind, query.parent.value_or("*"), query.state.value_or("*"), payload}) {
    text += std::to_string(part.size()) + ":" + part;
  }
  return Sha256Hex(text).substr(0, kCheckSize);
}

}  // namespace

std::string MakePageToken(const ListQuery& query, const PageCursor& cursor) {
  const std::string payload = std::to_string(cursor.create_us) + kSeparator + cursor.id + kSeparator + cursor.tenant;
  return Check(query, payload) + std::string(absl::BytesToHexString(payload));
}

absl::StatusOr<PageCursor> ParsePageToken(const ListQuery& query) {
  const auto invalid = [] {
    return TenonError(Reason::kPageTokenInvalid, "page_token was not made by this list", "page_token");
  };
  const std::string& token = query.page_token;
  if (token.size() <= kCheckSize || token.size() % 2 != 0) return invalid();
  if (token.find_first_not_of("0123456789abcdef") != std::string::npos) return invalid();
  const std::string payload = absl::HexStringToBytes(token.substr(kCheckSize));
  if (Check(query, payload) != token.substr(0, kCheckSize)) return invalid();
  const std::vector<std::string> parts = absl::StrSplit(payload, kSeparator);
  PageCursor cursor;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &cursor.create_us)) return invalid();
  cursor.id = parts[1];
  cursor.tenant = parts[2];
  return cursor;
}

}  // namespace tenon::server
