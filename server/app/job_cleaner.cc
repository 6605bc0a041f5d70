#include "server/app/job_cleaner.h"

#include <algorithm>

#include "server/catalog/records.h"

namespace tenon::server {

void JobCleaner::Drop(const std::vector<std::string>& files, absl::Time now) {
  if (files.empty()) return;
  absl::MutexLock lock(&mutex_);
  for (const std::string& file : files) dropped_.emplace_back(now + grace_, file);
}

void JobCleaner::Keep(const std::string& file, absl::Time now) {
  absl::MutexLock deleting(&deleting_);
  absl::MutexLock lock(&mutex_);
  if (sweeping_.erase(file) > 0) dropped_.emplace_back(now + grace_, file);
  for (auto& [due, dropped] : dropped_) {
    if (dropped == file) due = std::max(due, now + grace_);
  }
}

bool JobCleaner::IsDue(absl::Time now) const {
  absl::MutexLock lock(&mutex_);
  return std::any_of(dropped_.begin(), dropped_.end(), [&](const auto& entry) { return entry.first <= now; });
}

absl::Status JobCleaner::Sweep(absl::Time now) {
  std::set<std::string> due;
  {
    absl::MutexLock lock(&mutex_);
    const auto first_due =
        std::stable_partition(dropped_.begin(), dropped_.end(), [&](const auto& entry) { return entry.first > now; });
    for (auto entry = first_due; entry != dropped_.end(); ++entry) due.insert(entry->second);
    dropped_.erase(first_due, dropped_.end());
    sweeping_ = due;
  }
  if (due.empty()) return absl::OkStatus();
  const absl::Status swept = Delete(due);
  if (swept.ok()) return swept;
  // Tried again later: a file that nobody deletes stays for ever.
  absl::MutexLock lock(&mutex_);
  for (const std::string& digest : due) dropped_.emplace_back(now + grace_, digest);
  return swept;
}

absl::Status JobCleaner::Delete(std::set<std::string> due) {
  // Board first: what leaves it for a revision or a base between the two looks is seen by the second.
  for (const std::string& digest : board_->CheckpointFiles()) due.erase(digest);
  RETURN_IF_ERROR(store_->Read([&](Snapshot& snapshot) -> absl::Status {
    ListQuery revisions;
    revisions.kind = kRevisionKind;
    RETURN_IF_ERROR(ForEachRecord(snapshot, revisions, [&](const Record& record) -> absl::Status {
      ASSIGN_OR_RETURN(const auto stored, ParseBody<internal::v1::RevisionRecord>(record));
      for (const v1::FileEntry& file : stored.revision().files()) due.erase(file.sha256());
      return absl::OkStatus();
    }));
    ListQuery bases;
    bases.kind = kBaseKind;
    return ForEachRecord(snapshot, bases, [&](const Record& record) -> absl::Status {
      ASSIGN_OR_RETURN(const auto stored, ParseBody<internal::v1::BaseRecord>(record));
      for (const v1::FileEntry& file : stored.base().files()) due.erase(file.sha256());
      return absl::OkStatus();
    });
  }));
  absl::Status result;
  for (const std::string& digest : due) {
    const absl::Status deleted = DeleteUnlessKept(digest);
    if (!absl::IsNotFound(deleted)) result.Update(deleted);
  }
  return result;
}

absl::Status JobCleaner::DeleteUnlessKept(const std::string& file) {
  absl::MutexLock deleting(&deleting_);
  {
    absl::MutexLock lock(&mutex_);
    if (sweeping_.erase(file) == 0) return absl::OkStatus();
  }
  return blobs_->Delete(file);
}

}  // namespace tenon::server
