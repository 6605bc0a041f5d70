#include "server/api/inference_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/api/inference_replies.h"

namespace tenon::server {
namespace {

using internal::v1::InferenceResult;

// The base or adapter that a request names.
template <typename Request>
absl::StatusOr<ResolvedModel> Resolve(const ModelIndex& models, const std::string& tenant, const Request& request) {
  if (request.model_case() == Request::kAdapter) return models.ResolveAdapter(tenant, request.adapter(), "adapter");
  return models.ResolveBase(tenant, request.base(), "base");
}

template <typename Request>
InferenceCall CallOf(const CallContext& context, const ResolvedModel& model, internal::v1::InferenceKind kind,
                     const Request& request) {
  InferenceCall call;
  call.tenant = context.tenant;
  call.base_digest = model.version.base_digest();
  if (!model.version.revision().empty()) {
    call.adapter.set_digest(model.version.revision());
    call.adapter.mutable_files()->Assign(model.adapter_files.begin(), model.adapter_files.end());
  }
  call.kind = kind;
  call.texts.assign(request.texts().begin(), request.texts().end());
  call.deadline = context.deadline;
  return call;
}

}  // namespace

grpc::ServerUnaryReactor* InferenceService::Classify(grpc::CallbackServerContext* context,
                                                     const v1::ClassifyRequest* request,
                                                     v1::ClassifyResponse* response) {
  return Guarded::Async(
      runner_, context, request, response, "tenon.v1.InferenceService/Classify",
      [this](const CallContext& call, const v1::ClassifyRequest& request, v1::ClassifyResponse* response,
             std::function<void(absl::Status)> done, std::function<void()>* on_cancel) {
        if (absl::Status valid = CheckClassify(request); !valid.ok()) return done(valid);
        auto model = Resolve(*models_, call.tenant, request);
        if (!model.ok()) return done(model.status());
        if (model->labels.empty()) {
          return done(TenonError(Reason::kNoClassifier,
                                 "the model has no classification head; name an adapter that has one",
                                 request.has_adapter() ? "adapter" : "base"));
        }
        InferenceCall inference = CallOf(call, *model, internal::v1::INFERENCE_KIND_CLASSIFY, request);
        const uint64_t id =
            router_->Submit(std::move(inference), [model = *std::move(model), top_k = request.top_k(), response,
                                                   done = std::move(done)](absl::StatusOr<InferenceResult> result) {
              if (!result.ok()) return done(result.status());
              auto reply = ClassifyReply(model, top_k, *result);
              if (reply.ok()) *response = *std::move(reply);
              done(reply.status());
            });
        *on_cancel = [this, id] { router_->Cancel(id); };
      });
}

grpc::ServerUnaryReactor* InferenceService::Embed(grpc::CallbackServerContext* context, const v1::EmbedRequest* request,
                                                  v1::EmbedResponse* response) {
  return Guarded::Async(runner_, context, request, response, "tenon.v1.InferenceService/Embed",
                        [this](const CallContext& call, const v1::EmbedRequest& request, v1::EmbedResponse* response,
                               std::function<void(absl::Status)> done, std::function<void()>* on_cancel) {
                          if (absl::Status valid = CheckEmbed(request); !valid.ok()) return done(valid);
                          auto model = Resolve(*models_, call.tenant, request);
                          if (!model.ok()) return done(model.status());
                          InferenceCall inference = CallOf(call, *model, internal::v1::INFERENCE_KIND_EMBED, request);
                          inference.pooling = request.pooling();
                          if (request.has_normalize()) inference.normalize = request.normalize();
                          const uint64_t id = router_->Submit(
                              std::move(inference), [model = *std::move(model), response,
                                                     done = std::move(done)](absl::StatusOr<InferenceResult> result) {
                                if (result.ok()) *response = EmbedReply(model, *std::move(result));
                                done(result.status());
                              });
                          *on_cancel = [this, id] { router_->Cancel(id); };
                        });
}

}  // namespace tenon::server
