// Writes for ever, several threads at once, and prints each id once it is acknowledged; the kill test ends it. After a
// failed write it ends by itself: with 5 when the store took writes afterwards, else with 3.
#include <unistd.h>

#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "server/store/sqlite/sqlite_store.h"

namespace {

using tenon::server::Record;
using tenon::server::Store;
using tenon::server::Transaction;

// Whether any of a few further writes succeeds.
bool TakesWrites(Store& store) {
  for (int i = 0; i < 5; ++i) {
    Record record;
    record.tenant = "t";
    record.kind = "later";
    record.id = std::to_string(i);
    if (store.Write([&](Transaction& transaction) { return transaction.Insert(record); }).ok()) return true;
  }
  return false;
}

void WriteForEver(Store& store, const std::string& prefix) {
  for (int i = 0;; ++i) {
    Record record;
    record.tenant = "t";
    record.kind = "k";
    record.id = prefix + std::to_string(i);
    record.body = std::string(static_cast<size_t>(i % 5000), 'b');
    const absl::Status status = store.Write([&](Transaction& transaction) -> absl::Status {
      absl::Status inserted = transaction.Insert(record);
      if (!inserted.ok()) return inserted;
      return transaction.AppendEvent("t", prefix, record.id).status();
    });
    if (!status.ok()) _exit(TakesWrites(store) ? 5 : 3);
    // One write call: a killed process leaves whole lines or, at the very end, a part of one.
    const std::string line = record.id + "\n";
    if (write(STDOUT_FILENO, line.data(), line.size()) < 0) _exit(4);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  tenon::server::SqliteOptions options;
  options.folder = argv[1];
  const auto store = tenon::server::OpenSqliteStore(options);
  if (!store.ok()) {
    std::fprintf(stderr, "%s\n", store.status().ToString().c_str());
    return 1;
  }
  std::vector<std::thread> threads;
  for (const char* name : {"a", "b", "c", "d"}) {
    threads.emplace_back([&, name] { WriteForEver(**store, std::string(name) + argv[2] + "-"); });
  }
  for (std::thread& thread : threads) thread.join();
}
