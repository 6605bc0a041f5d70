// The one thread that writes.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "server/store/sqlite/database.h"
#include "server/store/store.h"

namespace tenon::server {

// Thread-safe. Destruction finishes what was queued.
class Writer {
 public:
  struct Options {
    const Clock* clock;
    int max_queued;
    int max_group;
  };
  Writer(std::unique_ptr<Database> database, const Options& options);
  ~Writer();

  // See Store. Neither may be called from a body or a `done`, which run on the writer's thread.
  absl::Status Write(Store::WriteBody body);
  void WriteAsync(Store::WriteBody body, std::function<void(absl::Status)> done);
  bool writable() const { return writable_; }

 private:
  struct Item {
    Store::WriteBody body;  // empty: refused, only to be answered
    std::function<void(absl::Status)> done;
    absl::Status result;
  };

  void Loop();
  void RunGroup(std::vector<Item>& group);
  // Runs the bodies inside one transaction and commits it. An error here voids the whole group.
  absl::Status Commit(std::vector<Item>& group);
  absl::Status RunBody(Item& item);
  void Enqueue(Item item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::unique_ptr<Database> database_;
  const Options options_;
  std::atomic<bool> writable_ = true;
  absl::Mutex mutex_;
  std::deque<Item> queue_ ABSL_GUARDED_BY(mutex_);
  int queued_ ABSL_GUARDED_BY(mutex_) = 0;  // items with a body
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tenon::server
