// Bases, adapters, revisions and data sets as records: functions over a transaction, so that a job's success and its
// revision commit together; and an in-memory index that resolves names on the hot path without touching the store.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/blobs/blob_store.h"
#include "server/store/store.h"
#include "tenon/v1/catalog_service.pb.h"
#include "tenon/v1/dataset_service.pb.h"

namespace tenon::server {

// What an inference call or a job needs to know of a model.
struct ResolvedModel {
  v1::ModelVersion version;                  // names and digests as replies show them
  std::vector<v1::FileEntry> adapter_files;  // empty for a base
  v1::Task task = v1::TASK_UNSPECIFIED;      // of the adapter
  v1::Method method = v1::METHOD_UNSPECIFIED;
  std::vector<std::string> labels;  // in index order; empty without a head
  bool multi_label = false;
  bool regression = false;                        // the head gives numbers, of which `labels` are the names
  std::optional<v1::TextTemplate> text_template;  // of an adapter for TASK_SEQ2SEQ that has one
};

// A new revision of an adapter, made by a job or an import.
struct NewRevision {
  std::string adapter_id;
  std::string base;  // `bases/{id}`
  std::string base_digest;
  v1::Task task = v1::TASK_UNSPECIFIED;
  v1::Method method = v1::METHOD_UNSPECIFIED;
  std::vector<std::string> labels;
  bool multi_label = false;
  bool regression = false;
  std::optional<v1::TextTemplate> text_template;
  std::vector<v1::FileEntry> files;
  std::string job;     // empty when imported
  std::string digest;  // from RevisionDigest; empty: ManifestDigest of the files as they are
};

// SHA-256 over the sorted SHA-256s of an adapter's files, tenon.json read without its job: the same weights trained by
// two jobs are one revision. Blocks on the blob of tenon.json.
absl::StatusOr<std::string> RevisionDigest(BlobStore& blobs, const std::vector<v1::FileEntry>& files);

// BASE_MISMATCH when the adapter is there and bound to another base digest, TASK_MISMATCH when it is for another task
// than `task`, unless that is unspecified; OK when it is not there.
absl::Status CheckAdapterBinding(Snapshot& snapshot, const std::string& tenant, const std::string& adapter_id,
                                 const std::string& base_digest, v1::Task task);

// Writes the revision (and the adapter, when it is new) and moves the default alias to it. The same digest again is no
// error. BASE_MISMATCH when the adapter is bound to another base digest. Returns `adapters/{id}/revisions/{digest}`.
absl::StatusOr<std::string> PutRevision(Transaction& transaction, const std::string& tenant,
                                        const NewRevision& revision, absl::Time now);

// Removes the adapter and all its revisions. NOT_FOUND. Whether something pins it is the caller's question.
absl::Status DeleteAdapterRecords(Transaction& transaction, const std::string& tenant, const std::string& id);

// A base that a job made of another: the same network with other weights, and a head of its own.
struct NewBase {
  std::string id;
  std::string made_of;                               // id of the base
  v1::Task task = v1::TASK_SEQUENCE_CLASSIFICATION;  // of its head
  std::vector<std::string> labels;
  bool multi_label = false;
  bool regression = false;
  std::vector<v1::FileEntry> files;
};

// Writes it. NOT_FOUND for the base that it was made of. Whether its id is free is the caller's question. Returns
// `bases/{id}`.
absl::StatusOr<std::string> PutBase(Transaction& transaction, const std::string& tenant, const NewBase& base,
                                    absl::Time now);

absl::StatusOr<v1::Adapter> ReadAdapter(Snapshot& snapshot, const std::string& tenant, const std::string& id);
absl::StatusOr<v1::Base> ReadBase(Snapshot& snapshot, const std::string& tenant, const std::string& id);
absl::StatusOr<v1::Dataset> ReadDatasetRecord(Snapshot& snapshot, const std::string& tenant, const std::string& id);
// Format in which a data set's blob is written (stored beside the resource).
absl::StatusOr<v1::DatasetFormat> ReadDatasetFormat(Snapshot& snapshot, const std::string& tenant,
                                                    const std::string& id);

// Names -> digests, in memory. Thread-safe. Rebuilt from the store at start, refreshed after each commit that changes
// the catalog.
class ModelIndex {
 public:
  // Reads everything.
  absl::Status Reload(Store& store);
  // Reads one adapter or base again after its commit; removes it when it is gone.
  absl::Status RefreshAdapter(Store& store, const std::string& tenant, const std::string& id);
  absl::Status RefreshBase(Store& store, const std::string& tenant, const std::string& id);

  // NOT_FOUND names the adapter, revision or base. `name` is an id or resource name; `field` is the request's field.
  absl::StatusOr<ResolvedModel> ResolveAdapter(const std::string& tenant, const std::string& name,
                                               const std::string& field) const;
  absl::StatusOr<ResolvedModel> ResolveBase(const std::string& tenant, const std::string& name,
                                            const std::string& field) const;
  // Every base, for the fleet to place.
  std::vector<v1::Base> Bases() const;

 private:
  struct BaseEntry {
    v1::Base base;
    std::vector<std::string> labels;
    bool multi_label = false;
    bool regression = false;
  };
  struct RevisionFacts {
    v1::Task task = v1::TASK_UNSPECIFIED;
    bool multi_label = false;
    bool regression = false;
  };
  struct AdapterEntry {
    v1::Adapter adapter;
    std::map<std::string, RevisionFacts> revisions;  // by digest
  };
  using Key = std::pair<std::string, std::string>;  // tenant, id

  static absl::StatusOr<BaseEntry> ToBaseEntry(const Record& record);
  static absl::StatusOr<AdapterEntry> ReadEntry(Snapshot& snapshot, const std::string& tenant, const std::string& id);

  // One refresh at a time: of two that overlap, the one that read last must write last.
  absl::Mutex refresh_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable absl::Mutex mutex_;
  std::map<Key, BaseEntry> bases_ ABSL_GUARDED_BY(mutex_);
  std::map<Key, AdapterEntry> adapters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tenon::server
