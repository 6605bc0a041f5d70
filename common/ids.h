// Resource ids and names.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace tenon {

// Whether `id` matches [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?.
bool IsValidId(const std::string& id);
// ID_INVALID that names `field`, or OK.
absl::Status CheckId(const std::string& id, const std::string& field);

// `{id}` or `{collection}/{id}` -> `{id}`, checked. ParseName("bases", "bases/minilm", "base") is "minilm".
absl::StatusOr<std::string> ParseName(const std::string& collection, const std::string& name, const std::string& field);

// An adapter as calls name it.
struct AdapterName {
  std::string id;
  std::string revision;  // 64 hex digits; empty for the default alias
};
// `{id}`, `adapters/{id}` or `adapters/{id}/revisions/{digest}`.
absl::StatusOr<AdapterName> ParseAdapterName(const std::string& name, const std::string& field);

// A random id of `length` characters [a-z0-9], the first a letter, from the system's entropy.
std::string RandomId(int length = 12);

}  // namespace tenon
