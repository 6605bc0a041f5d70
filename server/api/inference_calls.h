// What every method of InferenceService does before it asks the router.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/api/call_runner.h"
#include "server/catalog/catalog.h"
#include "server/dispatch/inference.h"

namespace tenon::server {

// The field of a request that names its model.
template <typename Request>
const char* ModelField(const Request& request) {
  return request.model_case() == Request::kAdapter ? "adapter" : "base";
}

// The base or adapter that a request names.
template <typename Request>
absl::StatusOr<ResolvedModel> ResolveModel(const ModelIndex& models, const std::string& tenant,
                                           const Request& request) {
  if (request.model_case() == Request::kAdapter) return models.ResolveAdapter(tenant, request.adapter(), "adapter");
  return models.ResolveBase(tenant, request.base(), "base");
}

// A call on that model, without texts.
inline InferenceCall NewCall(const CallContext& context, const ResolvedModel& model, internal::v1::InferenceKind kind) {
  InferenceCall call;
  call.tenant = context.tenant;
  call.base_digest = model.version.base_digest();
  if (!model.version.revision().empty()) {
    call.adapter.set_digest(model.version.revision());
    call.adapter.mutable_files()->Assign(model.adapter_files.begin(), model.adapter_files.end());
  }
  call.kind = kind;
  call.deadline = context.deadline;
  return call;
}

}  // namespace tenon::server
