// What every method of InferenceService does before it asks the router.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/api/call_runner.h"
#include "server/api/generation_requests.h"
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

// Submits the call and answers with what `reply` makes of its result.
template <typename Response, typename Reply>
void Answer(InferenceRouter* router, InferenceCall inference, const char* model_field, Response* response, Reply reply,
            std::function<void(absl::Status)> done, std::function<void()>* on_cancel) {
  const uint64_t id =
      router->Submit(std::move(inference), [reply = std::move(reply), model_field, response, done = std::move(done)](
                                               absl::StatusOr<internal::v1::InferenceResult> result) {
        if (!result.ok()) return done(NameRequestField(result.status(), model_field));
        auto built = reply(*std::move(result));
        if (built.ok()) *response = *std::move(built);
        done(built.status());
      });
  *on_cancel = [router, id] { router->Cancel(id); };
}

}  // namespace tenon::server
