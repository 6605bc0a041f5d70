#include "server/api/inference_service.h"

#include <utility>

#include "common/tuning_options.h"
#include "server/api/inference_calls.h"
#include "server/api/inference_replies.h"
#include "server/api/span_requests.h"

namespace tenon::server {

using internal::v1::InferenceResult;

grpc::ServerUnaryReactor* InferenceService::Classify(grpc::CallbackServerContext* context,
                                                     const v1::ClassifyRequest* request,
                                                     v1::ClassifyResponse* response) {
  return Guarded::Async(
      runner_, context, request, response, "tenon.v1.InferenceService/Classify",
      [this](const CallContext& call, const v1::ClassifyRequest& request, v1::ClassifyResponse* response,
             std::function<void(absl::Status)> done, std::function<void()>* on_cancel) {
        if (absl::Status valid = CheckClassify(request); !valid.ok()) return done(valid);
        auto model = ResolveModel(*models_, call.tenant, request);
        if (!model.ok()) return done(model.status());
        if (FindsSpans(model->task)) {
          return done(CheckTask(*model, v1::TASK_SEQUENCE_CLASSIFICATION, ModelField(request)));
        }
        if (model->labels.empty()) {
          return done(TenonError(Reason::kNoClassifier,
                                 "the model has no classification head; name an adapter that has one",
                                 ModelField(request)));
        }
        InferenceCall inference = NewCall(call, *model, internal::v1::INFERENCE_KIND_CLASSIFY);
        inference.texts.assign(request.texts().begin(), request.texts().end());
        inference.text_pairs.assign(request.text_pairs().begin(), request.text_pairs().end());
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
                          auto model = ResolveModel(*models_, call.tenant, request);
                          if (!model.ok()) return done(model.status());
                          InferenceCall inference = NewCall(call, *model, internal::v1::INFERENCE_KIND_EMBED);
                          inference.texts.assign(request.texts().begin(), request.texts().end());
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
