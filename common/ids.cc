#include "common/ids.h"

#include <openssl/rand.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/formats/status.h"

namespace tenon {
namespace {

constexpr size_t kMaxIdLength = 63;

bool IsIdCharacter(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// What may be shown of a text that came from outside.
std::string Shorten(const std::string& text) {
  return text.size() <= 80 ? text : absl::StrCat(text.substr(0, 77), "...");
}

}  // namespace

bool IsValidId(const std::string& id) {
  if (id.empty() || id.size() > kMaxIdLength) return false;
  if (!IsIdCharacter(id.front()) || !IsIdCharacter(id.back())) return false;
  return std::all_of(id.begin(), id.end(), [](char c) { return IsIdCharacter(c) || c == '-'; });
}

absl::Status CheckId(const std::string& id, const std::string& field) {
  if (id.empty()) return TenonError(Reason::kFieldRequired, absl::StrCat(field, " is required"), field);
  if (IsValidId(id)) return absl::OkStatus();
  return TenonError(
      Reason::kIdInvalid,
      absl::StrCat(field, ": '", Shorten(id), "' is not an id: 1 to 63 of a-z, 0-9 and '-', no '-' at the ends"),
      field);
}

absl::StatusOr<std::string> ParseName(const std::string& collection, const std::string& name,
                                      const std::string& field) {
  const std::string prefix = absl::StrCat(collection, "/");
  const std::string id = absl::StartsWith(name, prefix) ? name.substr(prefix.size()) : name;
  RETURN_IF_ERROR(CheckId(id, field));
  return id;
}

absl::StatusOr<AdapterName> ParseAdapterName(const std::string& name, const std::string& field) {
  constexpr char kRevisions[] = "/revisions/";
  AdapterName parsed;
  std::string head = name;
  if (const size_t at = name.find(kRevisions); at != std::string::npos) {
    head = name.substr(0, at);
    parsed.revision = name.substr(at + sizeof(kRevisions) - 1);
    if (!IsDigest(parsed.revision)) {
      return TenonError(Reason::kIdInvalid, absl::StrCat(field, ": a revision is named by 64 hex digits"), field);
    }
  }
  ASSIGN_OR_RETURN(parsed.id, ParseName("adapters", head, field));
  return parsed;
}

std::string RandomId(int length) {
  constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::string id(static_cast<size_t>(length), 'a');
  for (size_t i = 0; i < id.size(); ++i) {
    const int choices = i == 0 ? 26 : 36;
    unsigned char byte = 0;
    do {
      RAND_bytes(&byte, 1);
    } while (byte >= 256 / choices * choices);  // no bias
    id[i] = kAlphabet[byte % choices];
  }
  return id;
}

}  // namespace tenon
