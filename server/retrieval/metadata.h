// Values that filters compare with.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "google/protobuf/struct.pb.h"

namespace tenon::server {

using MetadataValue = std::variant<std::string, double, bool>;
// Sorted by key, keys unique.
using Metadata = std::vector<std::pair<std::string, MetadataValue>>;

// FIELD_INVALID names `field` and the key whose value is no string, finite number or boolean; or says that there is too
// much of it (64 keys, 64 KiB).
absl::StatusOr<Metadata> ParseMetadata(const google::protobuf::Struct& from, const std::string& field);

// Whether `document` has every value of `filter`. Types count: 1 is neither "1" nor true.
bool Matches(const Metadata& document, const Metadata& filter);

// Bytes that it takes in memory, about.
int64_t MetadataBytes(const Metadata& metadata);

}  // namespace tenon::server
