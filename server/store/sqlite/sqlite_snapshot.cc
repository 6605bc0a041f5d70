#include "server/store/sqlite/sqlite_snapshot.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/formats/status.h"
#include "server/store/sqlite/page_token.h"

namespace tenon::server {
namespace {

constexpr int kDefaultLimit = 50;
constexpr int kMaxLimit = 1000;
constexpr char kRecordColumns[] = "tenant, kind, id, parent, state, term, create_us, body";

Record ReadRecord(const Query& query) {
  Record record;
  record.tenant = query.Bytes(0);
  record.kind = query.Bytes(1);
  record.id = query.Bytes(2);
  record.parent = query.Bytes(3);
  record.state = query.Bytes(4);
  record.term = query.Number(5);
  record.create_time = absl::FromUnixMicros(query.Number(6));
  record.body = query.Bytes(7);
  return record;
}

DocumentRecord ReadDocument(const Query& query) {
  DocumentRecord document;
  document.id = query.Bytes(0);
  document.number = query.Number(1);
  const std::string vector = query.Bytes(2);
  document.vector.resize(vector.size() / sizeof(float));
  std::memcpy(document.vector.data(), vector.data(), document.vector.size() * sizeof(float));
  document.body = query.Bytes(3);
  return document;
}

absl::StatusOr<int64_t> OneNumber(Query& query) {
  ASSIGN_OR_RETURN(const bool row, query.Step());
  return row ? query.Number(0) : 0;
}

}  // namespace

template <typename Base>
absl::StatusOr<Record> SqliteReads<Base>::Get(const std::string& tenant, const std::string& kind,
                                              const std::string& id) {
  Query query(database_,
              std::string("SELECT ") + kRecordColumns + " FROM records WHERE tenant = ? AND kind = ? AND id = ?");
  query.Text(tenant).Text(kind).Text(id);
  ASSIGN_OR_RETURN(const bool row, query.Step());
  if (!row) return absl::NotFoundError("no " + kind + " " + id);
  return ReadRecord(query);
}

template <typename Base>
absl::StatusOr<ListPage> SqliteReads<Base>::List(const ListQuery& list) {
  std::string sql = std::string("SELECT ") + kRecordColumns + " FROM records WHERE kind = ?";
  std::vector<std::string> texts = {list.kind};
  const auto filter = [&](const char* column, const std::string& value) {
    sql += std::string(" AND ") + column + " = ?";
    texts.push_back(value);
  };
  if (!list.tenant.empty()) filter("tenant", list.tenant);
  if (list.parent.has_value()) filter("parent", *list.parent);
  if (list.state.has_value()) filter("state", *list.state);
  if (list.id.has_value()) filter("id", *list.id);
  PageCursor cursor;
  const bool has_cursor = !list.page_token.empty();
  if (has_cursor) {
    ASSIGN_OR_RETURN(cursor, ParsePageToken(list));
    sql += " AND (create_us, id, tenant) < (?, ?, ?)";
  }
  sql += " ORDER BY create_us DESC, id DESC, tenant DESC LIMIT ?";

  const int limit = list.limit <= 0 ? kDefaultLimit : std::min(list.limit, kMaxLimit);
  Query query(database_, sql);
  for (const std::string& text : texts) query.Text(text);
  if (has_cursor) query.Int(cursor.create_us).Text(cursor.id).Text(cursor.tenant);
  query.Int(limit + 1);  // one more tells whether a next page exists
  ListPage page;
  int64_t bytes = 0;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query.Step());
    if (!row) break;
    const bool full = static_cast<int>(page.records.size()) == limit || bytes >= list.max_bytes;
    if (!page.records.empty() && full) {
      const Record& last = page.records.back();
      page.next_page_token = MakePageToken(list, {absl::ToUnixMicros(last.create_time), last.id, last.tenant});
      break;
    }
    page.records.push_back(ReadRecord(query));
    bytes += static_cast<int64_t>(page.records.back().body.size());
  }
  return page;
}

template <typename Base>
absl::StatusOr<int64_t> SqliteReads<Base>::Count(const std::string& tenant, const std::string& kind,
                                                 const std::optional<std::string>& parent) {
  std::string sql = "SELECT COUNT(*) FROM records WHERE tenant = ? AND kind = ?";
  if (parent.has_value()) sql += " AND parent = ?";
  Query query(database_, sql);
  query.Text(tenant).Text(kind);
  if (parent.has_value()) query.Text(*parent);
  return OneNumber(query);
}

template <typename Base>
absl::StatusOr<std::vector<EventRecord>> SqliteReads<Base>::Events(const std::string& tenant, const std::string& stream,
                                                                   int64_t after, int limit) {
  Query query(database_,
              "SELECT sequence, body FROM events WHERE tenant = ? AND stream = ? AND sequence > ? "
              "ORDER BY sequence LIMIT ?");
  query.Text(tenant).Text(stream).Int(after).Int(limit <= 0 ? kMaxLimit : limit);
  std::vector<EventRecord> events;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query.Step());
    if (!row) return events;
    events.push_back({query.Number(0), query.Bytes(1)});
  }
}

template <typename Base>
absl::StatusOr<DocumentRecord> SqliteReads<Base>::GetDocument(const std::string& tenant, const std::string& collection,
                                                              int64_t number) {
  Query query(database_,
              "SELECT id, number, vector, body FROM documents WHERE tenant = ? AND collection = ? AND number = ?");
  query.Text(tenant).Text(collection).Int(number);
  ASSIGN_OR_RETURN(const bool row, query.Step());
  if (!row) return absl::NotFoundError("no document " + std::to_string(number));
  return ReadDocument(query);
}

template <typename Base>
absl::StatusOr<std::vector<int64_t>> SqliteReads<Base>::DocumentNumbers(const std::string& tenant,
                                                                        const std::string& collection,
                                                                        const std::vector<std::string>& ids) {
  std::vector<int64_t> numbers;
  numbers.reserve(ids.size());
  for (const std::string& id : ids) {
    Query query(database_, "SELECT number FROM documents WHERE tenant = ? AND collection = ? AND id = ?");
    query.Text(tenant).Text(collection).Text(id);
    ASSIGN_OR_RETURN(const bool row, query.Step());
    numbers.push_back(row ? query.Number(0) : -1);
  }
  return numbers;
}

template <typename Base>
absl::StatusOr<int64_t> SqliteReads<Base>::CountDocuments(const std::string& tenant, const std::string& collection) {
  Query query(database_, "SELECT COUNT(*) FROM documents WHERE tenant = ? AND collection = ?");
  query.Text(tenant).Text(collection);
  return OneNumber(query);
}

template <typename Base>
absl::Status SqliteReads<Base>::ScanDocuments(const std::string& tenant, const std::string& collection, int64_t after,
                                              const std::function<void(const DocumentRecord&)>& visit) {
  Query query(database_,
              "SELECT id, number, vector, body FROM documents WHERE tenant = ? AND collection = ? AND number > ? "
              "ORDER BY number");
  query.Text(tenant).Text(collection).Int(after);
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query.Step());
    if (!row) return absl::OkStatus();
    visit(ReadDocument(query));
  }
}

template class SqliteReads<Snapshot>;
template class SqliteReads<Transaction>;

}  // namespace tenon::server
