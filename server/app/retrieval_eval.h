// Retrieval evaluations: judged queries against a collection, inside the server.
#pragma once

#include <memory>

#include "common/formats/dataset.h"
#include "server/app/documents_collections.h"
#include "server/app/job_scheduler.h"
#include "server/dispatch/inference.h"

namespace tenon::server {

// Scores as server/retrieval/metrics.h defines them, by exact or HNSW search as the collection is; means over the
// queries that are both in the query set and judged.
class CollectionEvaluator final : public RetrievalEvaluator {
 public:
  struct Parts {
    Store* store;
    BlobStore* blobs;
    InferenceRouter* router;
    IndexCache* indexes;
    Collections* collections;
  };
  explicit CollectionEvaluator(const Parts& parts) : parts_(parts) {}

  // `progress` counts queries. DATASET_INVALID when no query is judged.
  absl::StatusOr<v1::EvalResult> Run(const std::string& tenant, const v1::RetrievalEval& spec,
                                     const std::function<void(int64_t done, int64_t total)>& progress,
                                     const std::function<bool()>& cancelled) override;
  // NOT_FOUND and FIELD_INVALID name `eval_job.retrieval.*`.
  absl::Status Check(Snapshot& snapshot, const std::string& tenant, const v1::RetrievalEval& spec) override;

 private:
  absl::StatusOr<formats::Dataset> ReadRows(const std::string& tenant, const std::string& name, v1::DatasetKind kind,
                                            const std::string& field);

  const Parts parts_;
};

}  // namespace tenon::server
