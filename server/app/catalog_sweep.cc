#include "server/app/catalog_sweep.h"

#include <set>
#include <string>
#include <unordered_set>

#include "common/digest.h"
#include "server/catalog/records.h"

namespace tenon::server {
namespace {

constexpr size_t kDigestLength = 64;

bool IsHex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

// Every run of 64 hex digits, and every window of a longer run: whatever a record's fields are called, its digests are
// found, and what is found too much only keeps a blob.
void CollectDigests(const std::string& bytes, std::unordered_set<std::string>* digests) {
  size_t run = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    run = IsHex(bytes[i]) ? run + 1 : 0;
    if (run >= kDigestLength) digests->insert(bytes.substr(i + 1 - kDigestLength, kDigestLength));
  }
}

}  // namespace

absl::StatusOr<int64_t> SweepBlobs(Store& store, BlobStore& blobs, absl::Duration min_age) {
  std::unordered_set<std::string> named;
  RETURN_IF_ERROR(store.Read([&](Snapshot& snapshot) -> absl::Status {
    for (const char* kind : {kBaseKind, kRevisionKind, kDatasetKind, kCollectionKind, "finetune_job", "eval_job"}) {
      ListQuery query;
      query.kind = kind;
      RETURN_IF_ERROR(ForEachRecord(snapshot, query, [&](const Record& record) {
        CollectDigests(record.body, &named);
        return absl::OkStatus();
      }));
    }
    return absl::OkStatus();
  }));
  std::set<std::string> orphans;  // a blob that is both stored and linked is listed twice
  RETURN_IF_ERROR(blobs.List([&](const std::string& sha256, int64_t age_seconds) {
    if (absl::Seconds(age_seconds) >= min_age && !named.contains(sha256)) orphans.insert(sha256);
  }));
  for (const std::string& orphan : orphans) RETURN_IF_ERROR(blobs.Delete(orphan));
  return static_cast<int64_t>(orphans.size());
}

}  // namespace tenon::server
