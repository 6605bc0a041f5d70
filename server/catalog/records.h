// Records of the catalog: kinds, keys, and bodies as messages (tenon/internal/v1/records.proto).
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/formats/status.h"
#include "google/protobuf/message_lite.h"
#include "google/protobuf/timestamp.pb.h"
#include "server/store/store.h"
#include "tenon/internal/v1/records.pb.h"

namespace tenon::server {

inline constexpr char kBaseKind[] = "base";
inline constexpr char kAdapterKind[] = "adapter";
inline constexpr char kRevisionKind[] = "revision";
inline constexpr char kDatasetKind[] = "dataset";
inline constexpr char kCollectionKind[] = "collection";

// The record of (kind, id); NOT_FOUND says "no {what} '{id}'" and names the request's `field`.
absl::StatusOr<Record> GetRecord(Snapshot& snapshot, const std::string& tenant, const std::string& kind,
                                 const std::string& id, const std::string& what, const std::string& field);

// Visits every record of a query, page by page; stops at the first error.
absl::Status ForEachRecord(Snapshot& snapshot, ListQuery query,
                           const std::function<absl::Status(const Record&)>& visit);

Record MakeRecord(const std::string& tenant, const std::string& kind, const std::string& id, const std::string& parent,
                  absl::Time create_time, const google::protobuf::MessageLite& body);

// INTERNAL when the stored bytes are not a `Message`.
template <typename Message>
absl::StatusOr<Message> ParseBody(const Record& record) {
  Message message;
  if (!message.ParseFromString(record.body)) {
    return absl::InternalError("stored " + record.kind + " '" + record.id + "' cannot be read");
  }
  return message;
}

google::protobuf::Timestamp ToTimestamp(absl::Time time);

// Page size as asked, 0 meaning 50, cut to 1000; FIELD_INVALID when negative.
absl::StatusOr<int> PageSize(int asked);

}  // namespace tenon::server
