// Generate, StreamGenerate and Summarize.
#include <optional>
#include <utility>

#include "common/formats/status.h"
#include "common/formats/text_template.h"
#include "server/api/generation_replies.h"
#include "server/api/generation_requests.h"
#include "server/api/inference_calls.h"
#include "server/api/inference_service.h"

namespace tenon::server {
namespace {

using internal::v1::InferenceResult;

template <typename Request>
InferenceCall GenerationCall(const CallContext& context, const ResolvedModel& model, internal::v1::InferenceKind kind,
                             const Request& request) {
  InferenceCall call = NewCall(context, model, kind);
  call.generation = request.generation();
  call.max_input_tokens = request.max_input_tokens();
  return call;
}

// What the adapter's template puts around a text; nothing without one. TEMPLATE_FIELDS when one text cannot fill it.
absl::StatusOr<std::optional<internal::v1::TextFrame>> SummaryFrame(const ResolvedModel& model) {
  if (!model.text_template.has_value()) return std::nullopt;
  const auto pattern = formats::TextPattern::Parse(model.text_template->input(), "adapter");
  if (!pattern.ok()) return pattern.status();
  const auto around = pattern->Around();
  if (!around.ok()) {
    return TenonError(GetReason(around.status()),
                      "the input template of " + model.version.adapter() + " is \"" + model.text_template->input() +
                          "\": one text does not fill it. Fill it yourself and call Generate",
                      "adapter");
  }
  internal::v1::TextFrame frame;
  frame.set_before(around->before);
  frame.set_after(around->after);
  return frame;
}

// What a worker says of the one row of a stream.
absl::Status OfOneText(const absl::Status& status) {
  if (GetField(status) != "texts[0]") return status;
  return TenonError(GetReason(status), std::string(status.message()), "text");
}

}  // namespace

grpc::ServerUnaryReactor* InferenceService::Generate(grpc::CallbackServerContext* context,
                                                     const v1::GenerateRequest* request,
                                                     v1::GenerateResponse* response) {
  return Guarded::Async(
      runner_, context, request, response, "tenon.v1.InferenceService/Generate",
      [this](const CallContext& call, const v1::GenerateRequest& request, v1::GenerateResponse* response,
             std::function<void(absl::Status)> done, std::function<void()>* on_cancel) {
        if (absl::Status valid = CheckGenerate(request); !valid.ok()) return done(valid);
        auto model = ResolveModel(*models_, call.tenant, request);
        if (!model.ok()) return done(model.status());
        InferenceCall inference = GenerationCall(call, *model, internal::v1::INFERENCE_KIND_GENERATE, request);
        inference.texts.assign(request.texts().begin(), request.texts().end());
        Answer(
            router_, std::move(inference), ModelField(request), response,
            [model = *std::move(model)](InferenceResult result) { return GenerateReply(model, std::move(result)); },
            std::move(done), on_cancel);
      });
}

grpc::ServerUnaryReactor* InferenceService::Summarize(grpc::CallbackServerContext* context,
                                                      const v1::SummarizeRequest* request,
                                                      v1::SummarizeResponse* response) {
  return Guarded::Async(
      runner_, context, request, response, "tenon.v1.InferenceService/Summarize",
      [this](const CallContext& call, const v1::SummarizeRequest& request, v1::SummarizeResponse* response,
             std::function<void(absl::Status)> done, std::function<void()>* on_cancel) {
        if (absl::Status valid = CheckSummarize(request); !valid.ok()) return done(valid);
        auto model = ResolveModel(*models_, call.tenant, request);
        if (!model.ok()) return done(model.status());
        InferenceCall inference = GenerationCall(call, *model, internal::v1::INFERENCE_KIND_SUMMARIZE, request);
        inference.texts.assign(request.texts().begin(), request.texts().end());
        inference.extractive = request.extractive();
        inference.combine_chunks = request.combine_chunks();
        auto frame = SummaryFrame(*model);
        if (!frame.ok()) return done(frame.status());
        inference.frame = *std::move(frame);
        Answer(
            router_, std::move(inference), ModelField(request), response,
            [model = *std::move(model)](InferenceResult result) { return SummarizeReply(model, std::move(result)); },
            std::move(done), on_cancel);
      });
}

grpc::ServerWriteReactor<v1::StreamGenerateResponse>* InferenceService::StreamGenerate(
    grpc::CallbackServerContext* context, const v1::StreamGenerateRequest* request) {
  using Sink = MessageSink<v1::StreamGenerateResponse>;
  return Guarded::AsyncStream<v1::StreamGenerateRequest, v1::StreamGenerateResponse>(
      runner_, context, request, "tenon.v1.InferenceService/StreamGenerate",
      [this](const CallContext& call, const v1::StreamGenerateRequest& request, std::shared_ptr<Sink> sink,
             std::function<void()>* on_cancel) {
        if (absl::Status valid = CheckStreamGenerate(request); !valid.ok()) return sink->End(valid);
        auto model = ResolveModel(*models_, call.tenant, request);
        if (!model.ok()) return sink->End(model.status());
        InferenceCall inference = GenerationCall(call, *model, internal::v1::INFERENCE_KIND_GENERATE, request);
        inference.texts = {request.text()};
        inference.on_text = [sink](std::string text) {
          sink->Add([&text](v1::StreamGenerateResponse* next) { next->mutable_text()->append(text); });
        };
        const uint64_t id = router_->Submit(
            std::move(inference),
            [sink, model = *std::move(model), field = ModelField(request)](absl::StatusOr<InferenceResult> result) {
              if (!result.ok()) return sink->End(OfOneText(NameRequestField(result.status(), field)));
              const auto end = StreamEnd(model, *std::move(result));
              if (end.ok()) sink->Add([&end](v1::StreamGenerateResponse* last) { last->MergeFrom(*end); });
              sink->End(end.status());
            });
        *on_cancel = [this, id] { router_->Cancel(id); };
      });
}

}  // namespace tenon::server
