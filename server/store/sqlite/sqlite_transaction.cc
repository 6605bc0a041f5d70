#include "server/store/sqlite/sqlite_transaction.h"

#include "common/formats/status.h"

namespace tenon::server {

absl::Status SqliteTransaction::Insert(const Record& record) {
  Query query(database_,
              "INSERT INTO records (tenant, kind, id, parent, state, term, create_us, body) "
              "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING");
  query.Text(record.tenant).Text(record.kind).Text(record.id).Text(record.parent).Text(record.state);
  query.Int(record.term).Int(absl::ToUnixMicros(record.create_time)).Blob(record.body);
  RETURN_IF_ERROR(query.Run());
  if (database_.Changes() == 0) {
    return TenonError(Reason::kAlreadyExists, record.kind + " " + record.id + " exists", record.id);
  }
  return absl::OkStatus();
}

absl::Status SqliteTransaction::Update(const Record& record, std::optional<int64_t> expected_term) {
  std::string sql =
      "UPDATE records SET parent = ?, state = ?, term = ?, body = ? WHERE tenant = ? AND kind = ? AND id = ?";
  if (expected_term.has_value()) sql += " AND term = ?";
  {
    Query query(database_, sql);
    query.Text(record.parent).Text(record.state).Int(record.term).Blob(record.body);
    query.Text(record.tenant).Text(record.kind).Text(record.id);
    if (expected_term.has_value()) query.Int(*expected_term);
    RETURN_IF_ERROR(query.Run());
  }
  if (database_.Changes() != 0) return absl::OkStatus();
  RETURN_IF_ERROR(Get(record.tenant, record.kind, record.id).status());
  return TenonError(Reason::kStaleTerm, record.kind + " " + record.id + " has a newer term than " +
                                            std::to_string(expected_term.value_or(0)));
}

absl::Status SqliteTransaction::Delete(const std::string& tenant, const std::string& kind, const std::string& id) {
  Query query(database_, "DELETE FROM records WHERE tenant = ? AND kind = ? AND id = ?");
  RETURN_IF_ERROR(query.Text(tenant).Text(kind).Text(id).Run());
  return database_.Changes() == 0 ? absl::NotFoundError("no " + kind + " " + id) : absl::OkStatus();
}

absl::StatusOr<int64_t> SqliteTransaction::AppendEvent(const std::string& tenant, const std::string& stream,
                                                       const std::string& body) {
  int64_t sequence = 1;
  {
    Query last(database_, "SELECT COALESCE(MAX(sequence), 0) FROM events WHERE tenant = ? AND stream = ?");
    ASSIGN_OR_RETURN(const bool row, last.Text(tenant).Text(stream).Step());
    if (row) sequence = last.Number(0) + 1;
  }
  Query insert(database_, "INSERT INTO events (tenant, stream, sequence, body) VALUES (?, ?, ?, ?)");
  RETURN_IF_ERROR(insert.Text(tenant).Text(stream).Int(sequence).Blob(body).Run());
  return sequence;
}

absl::StatusOr<std::optional<std::string>> SqliteTransaction::ClaimRequest(const std::string& tenant,
                                                                           const std::string& method,
                                                                           const std::string& request_id,
                                                                           const std::string& body_digest,
                                                                           const std::string& resource) {
  {
    Query query(database_,
                "SELECT body_digest, resource FROM requests WHERE tenant = ? AND method = ? AND request_id = ?");
    ASSIGN_OR_RETURN(const bool row, query.Text(tenant).Text(method).Text(request_id).Step());
    if (row) {
      if (query.Bytes(0) != body_digest) {
        return TenonError(Reason::kRequestIdReused, "request_id " + request_id + " was used with another body",
                          "request_id");
      }
      return std::optional<std::string>(query.Bytes(1));
    }
  }
  Query insert(database_,
               "INSERT INTO requests (tenant, method, request_id, body_digest, resource, create_us) "
               "VALUES (?, ?, ?, ?, ?, ?)");
  insert.Text(tenant).Text(method).Text(request_id).Text(body_digest).Text(resource).Int(absl::ToUnixMicros(now_));
  RETURN_IF_ERROR(insert.Run());
  return std::optional<std::string>();
}

absl::StatusOr<int64_t> SqliteTransaction::TakeNumbers(const std::string& tenant, const std::string& collection,
                                                       int64_t count) {
  Query query(database_,
              "INSERT INTO document_numbers (tenant, collection, next) VALUES (?, ?, ?) "
              "ON CONFLICT (tenant, collection) DO UPDATE SET next = next + excluded.next RETURNING next");
  ASSIGN_OR_RETURN(const bool row, query.Text(tenant).Text(collection).Int(count).Step());
  if (!row) return TenonError(Reason::kInternal, "sqlite: no number was returned");
  const int64_t next = query.Number(0);
  RETURN_IF_ERROR(query.Run());
  return next - count + 1;
}

absl::StatusOr<std::vector<int64_t>> SqliteTransaction::PutDocuments(const std::string& tenant,
                                                                     const std::string& collection,
                                                                     const std::vector<DocumentRecord>& documents) {
  std::vector<int64_t> numbers;
  if (documents.empty()) return numbers;
  ASSIGN_OR_RETURN(int64_t number, TakeNumbers(tenant, collection, static_cast<int64_t>(documents.size())));
  for (const DocumentRecord& document : documents) {
    Query query(database_,
                "INSERT INTO documents (tenant, collection, id, number, vector, body) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (tenant, collection, id) DO UPDATE SET number = excluded.number, "
                "vector = excluded.vector, body = excluded.body");
    query.Text(tenant).Text(collection).Text(document.id).Int(number);
    query.Blob(document.vector.data(), document.vector.size() * sizeof(float)).Blob(document.body);
    RETURN_IF_ERROR(query.Run());
    numbers.push_back(number++);
  }
  return numbers;
}

absl::StatusOr<std::vector<int64_t>> SqliteTransaction::DeleteDocuments(const std::string& tenant,
                                                                        const std::string& collection,
                                                                        const std::vector<std::string>& ids) {
  std::vector<int64_t> numbers;
  for (const std::string& id : ids) {
    Query query(database_, "DELETE FROM documents WHERE tenant = ? AND collection = ? AND id = ? RETURNING number");
    ASSIGN_OR_RETURN(const bool row, query.Text(tenant).Text(collection).Text(id).Step());
    if (!row) continue;
    numbers.push_back(query.Number(0));
    RETURN_IF_ERROR(query.Run());
  }
  return numbers;
}

absl::Status SqliteTransaction::DeleteAllDocuments(const std::string& tenant, const std::string& collection) {
  return Query(database_, "DELETE FROM documents WHERE tenant = ? AND collection = ?")
      .Text(tenant)
      .Text(collection)
      .Run();
}

}  // namespace tenon::server
