#include "server/catalog/records.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace tenon::server {

absl::StatusOr<Record> GetRecord(Snapshot& snapshot, const std::string& tenant, const std::string& kind,
                                 const std::string& id, const std::string& what, const std::string& field) {
  absl::StatusOr<Record> record = snapshot.Get(tenant, kind, id);
  if (absl::IsNotFound(record.status())) {
    return TenonError(Reason::kNotFound, absl::StrCat("no ", what, " '", id, "'"), field);
  }
  return record;
}

absl::Status ForEachRecord(Snapshot& snapshot, ListQuery query,
                           const std::function<absl::Status(const Record&)>& visit) {
  query.limit = 500;
  do {
    ASSIGN_OR_RETURN(const ListPage page, snapshot.List(query));
    for (const Record& record : page.records) RETURN_IF_ERROR(visit(record));
    query.page_token = page.next_page_token;
  } while (!query.page_token.empty());
  return absl::OkStatus();
}

Record MakeRecord(const std::string& tenant, const std::string& kind, const std::string& id, const std::string& parent,
                  absl::Time create_time, const google::protobuf::MessageLite& body) {
  Record record;
  record.tenant = tenant;
  record.kind = kind;
  record.id = id;
  record.parent = parent;
  record.create_time = create_time;
  record.body = body.SerializeAsString();
  return record;
}

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  const int64_t nanos = absl::ToUnixNanos(time);
  int64_t seconds = nanos / 1'000'000'000;
  int64_t rest = nanos % 1'000'000'000;
  if (rest < 0) {
    seconds -= 1;
    rest += 1'000'000'000;
  }
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(static_cast<int32_t>(rest));
  return timestamp;
}

absl::StatusOr<int> PageSize(int asked) {
  if (asked < 0) return TenonError(Reason::kFieldInvalid, "page_size must not be negative", "page_size");
  return asked == 0 ? 50 : std::min(asked, 1000);
}

}  // namespace tenon::server
