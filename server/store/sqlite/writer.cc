#include "server/store/sqlite/writer.h"

#include <exception>
#include <string>
#include <utility>

#include "absl/synchronization/notification.h"
#include "common/formats/status.h"
#include "server/store/sqlite/sqlite_transaction.h"

namespace tenon::server {
namespace {

bool IsFault(const absl::Status& status) {
  const Reason reason = GetReason(status);
  return reason == Reason::kDiskFull || reason == Reason::kStorageFault;
}

}  // namespace

Writer::Writer(std::unique_ptr<Database> database, const Options& options)
    : database_(std::move(database)), options_(options), thread_([this] { Loop(); }) {}

Writer::~Writer() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

absl::Status Writer::Write(Store::WriteBody body) {
  absl::Notification finished;
  absl::Status result;
  {
    absl::MutexLock lock(&mutex_);
    const auto has_place = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return queued_ < options_.max_queued; };
    mutex_.Await(absl::Condition(&has_place));
    Enqueue({std::move(body), [&](absl::Status status) {
               result = std::move(status);
               finished.Notify();
             }});
  }
  finished.WaitForNotification();
  return result;
}

void Writer::WriteAsync(Store::WriteBody body, std::function<void(absl::Status)> done) {
  absl::MutexLock lock(&mutex_);
  if (queued_ < options_.max_queued) {
    Enqueue({std::move(body), std::move(done)});
  } else {
    // Answered in turn by the writer, so that `done` never runs on the caller's stack.
    Enqueue({nullptr, std::move(done), TenonError(Reason::kQueueFull, "too many writes wait for the store")});
  }
}

void Writer::Enqueue(Item item) {
  if (item.body) ++queued_;
  queue_.push_back(std::move(item));
}

void Writer::Loop() {
  while (true) {
    std::vector<Item> group;
    {
      absl::MutexLock lock(&mutex_);
      const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !queue_.empty(); };
      mutex_.Await(absl::Condition(&has_work));
      if (queue_.empty()) return;
      while (!queue_.empty() && static_cast<int>(group.size()) < options_.max_group) {
        if (queue_.front().body) --queued_;
        group.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
    }
    RunGroup(group);
    for (Item& item : group) item.done(std::move(item.result));
  }
}

void Writer::RunGroup(std::vector<Item>& group) {
  if (database_->sync_failed()) {
    // What a failed fsync lost cannot be known from here, and a second one may report success over the loss.
    for (Item& item : group) {
      item.result = TenonError(Reason::kStorageFault,
                               "a sync of the store failed; no write is taken until the server is restarted");
    }
    return;
  }
  const absl::Status status = Commit(group);
  if (status.ok()) {
    writable_ = true;
    return;
  }
  if (database_->InTransaction()) (void)database_->Exec("ROLLBACK");
  writable_ = false;
  for (Item& item : group) {
    // A body that failed by itself keeps its own answer: it is void either way.
    if (item.body && item.result.ok()) item.result = status;
  }
}

absl::Status Writer::Commit(std::vector<Item>& group) {
  (void)database_->TakeFault();
  RETURN_IF_ERROR(Query(*database_, "BEGIN IMMEDIATE").Run());
  for (Item& item : group) {
    if (!item.body) continue;
    RETURN_IF_ERROR(Query(*database_, "SAVEPOINT body").Run());
    item.result = RunBody(item);
    const absl::Status fault = database_->TakeFault();
    if (IsFault(fault) || !database_->InTransaction()) {
      item.result = absl::OkStatus();  // answered with the group's error
      return fault.ok() ? TenonError(Reason::kStorageFault, "the store ended a transaction") : fault;
    }
    if (item.result.ok()) item.result = fault;  // a statement failed and the body went on
    if (!item.result.ok()) RETURN_IF_ERROR(Query(*database_, "ROLLBACK TO body").Run());
    RETURN_IF_ERROR(Query(*database_, "RELEASE body").Run());
  }
  return Query(*database_, "COMMIT").Run();
}

absl::Status Writer::RunBody(Item& item) {
  SqliteTransaction transaction(*database_, options_.clock->Now());
  try {
    return item.body(transaction);
  } catch (const std::exception& exception) {
    return TenonError(Reason::kInternal, std::string("a store write threw: ") + exception.what());
  }
}

}  // namespace tenon::server
