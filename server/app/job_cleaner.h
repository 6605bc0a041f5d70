// Deletes the files of checkpoints that nothing goes on from any more.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/app/job_board.h"

namespace tenon::server {

// Blobs are shared by digest: a checkpoint's file may be an adapter's, or another job's. So nothing goes before it is
// known that nobody refers to it, and not before a while has passed in which a worker that found the blob in place can
// report it. Thread-safe.
class JobCleaner {
 public:
  JobCleaner(Store* store, BlobStore* blobs, const JobBoard* board, absl::Duration grace)
      : store_(store), blobs_(blobs), board_(board), grace_(grace) {}

  // Files (digests) that a job no longer refers to, as of `now`.
  void Drop(const std::vector<std::string>& files, absl::Time now);
  // A worker is about to store this file, or to report it: it is not deleted for another grace, also by a sweep that
  // runs. Blocks for a deletion at most. Never on the loop.
  void Keep(const std::string& file, absl::Time now);
  // Whether something is due.
  bool IsDue(absl::Time now) const;
  // Deletes what is due and unreferenced. Blocks.
  absl::Status Sweep(absl::Time now);

 private:
  // Deletes what nobody refers to.
  absl::Status Delete(std::set<std::string> due);
  absl::Status DeleteUnlessKept(const std::string& file);

  Store* const store_;
  BlobStore* const blobs_;
  const JobBoard* const board_;
  const absl::Duration grace_;
  absl::Mutex deleting_ ABSL_ACQUIRED_BEFORE(mutex_);  // held from the last look at a file to its end
  mutable absl::Mutex mutex_;
  std::set<std::string> sweeping_ ABSL_GUARDED_BY(mutex_);  // of the sweep that runs, not kept meanwhile
  std::vector<std::pair<absl::Time, std::string>> dropped_ ABSL_GUARDED_BY(mutex_);  // due time, digest
};

}  // namespace tenon::server
