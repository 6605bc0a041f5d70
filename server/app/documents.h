// Documents: embedded by their collection's encoder, stored, found again.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/app/call_scope.h"
#include "server/app/documents_collections.h"
#include "server/dispatch/inference.h"
#include "tenon/v1/retrieval_service.pb.h"

namespace tenon::server {

// Thread-safe. Calls block: on workers, the store, and the first search of a collection while its index is built.
class Documents {
 public:
  struct Parts {
    Store* store;
    InferenceRouter* router;
    IndexCache* indexes;
    Collections* collections;
  };
  explicit Documents(const Parts& parts) : parts_(parts) {}

  // Row by row: good documents are durable when this returns, bad ones are listed (TEXT_EMPTY, TEXT_TOO_LARGE,
  // TEXT_NOT_UTF8, FIELD_REQUIRED, FIELD_INVALID, DOCUMENT_DUPLICATE for every row of an id that occurs twice). Errors
  // of the call itself (no such collection, no worker) store nothing.
  absl::StatusOr<v1::AddDocumentsResponse> Add(const CallScope& scope, const v1::AddDocumentsRequest& request);
  absl::StatusOr<v1::DeleteDocumentsResponse> Delete(const std::string& tenant,
                                                     const v1::DeleteDocumentsRequest& request);
  // TEXT_* name `queries[i]`; FIELD_INVALID names `top_k` or `filter`. A document that is being replaced may be
  // missing, with the next best in its place; QUEUE_FULL when too many are.
  absl::StatusOr<v1::RetrieveResponse> Retrieve(const CallScope& scope, const v1::RetrieveRequest& request);

 private:
  const Parts parts_;
};

}  // namespace tenon::server
