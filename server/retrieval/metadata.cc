#include "server/retrieval/metadata.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::server {
namespace {

constexpr int kMaxKeys = 64;
constexpr int64_t kMaxBytes = 64 << 10;

absl::Status Invalid(const std::string& field, const std::string& problem) {
  return TenonError(Reason::kFieldInvalid, absl::StrCat(field, " ", problem), field);
}

}  // namespace

absl::StatusOr<Metadata> ParseMetadata(const google::protobuf::Struct& from, const std::string& field) {
  if (from.fields_size() > kMaxKeys) {
    return Invalid(field, absl::StrCat("has ", from.fields_size(), " keys; at most ", kMaxKeys, " are allowed"));
  }
  if (static_cast<int64_t>(from.ByteSizeLong()) > kMaxBytes) {
    return Invalid(field, absl::StrCat("is larger than ", kMaxBytes, " bytes"));
  }
  Metadata metadata;
  metadata.reserve(from.fields_size());
  for (const auto& [key, value] : from.fields()) {
    switch (value.kind_case()) {
      case google::protobuf::Value::kStringValue:
        metadata.emplace_back(key, value.string_value());
        break;
      case google::protobuf::Value::kNumberValue:
        if (!std::isfinite(value.number_value())) {
          return Invalid(field, absl::StrCat("['", key, "'] is not a finite number"));
        }
        metadata.emplace_back(key, value.number_value());
        break;
      case google::protobuf::Value::kBoolValue:
        metadata.emplace_back(key, value.bool_value());
        break;
      default:
        return Invalid(field, absl::StrCat("['", key, "'] must be a string, a number or a boolean"));
    }
  }
  std::sort(metadata.begin(), metadata.end());
  return metadata;
}

bool Matches(const Metadata& document, const Metadata& filter) {
  auto at = document.begin();
  for (const auto& wanted : filter) {
    at = std::lower_bound(at, document.end(), wanted, [](const auto& a, const auto& b) { return a.first < b.first; });
    if (at == document.end() || *at != wanted) return false;
  }
  return true;
}

int64_t MetadataBytes(const Metadata& metadata) {
  int64_t bytes = static_cast<int64_t>(metadata.capacity() * sizeof(Metadata::value_type));
  for (const auto& [key, value] : metadata) {
    bytes += static_cast<int64_t>(key.capacity());
    if (const auto* text = std::get_if<std::string>(&value)) bytes += static_cast<int64_t>(text->capacity());
  }
  return bytes;
}

}  // namespace tenon::server
