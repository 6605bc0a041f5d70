// tenon.v1.InferenceService.
#pragma once

#include "server/api/guarded.h"
#include "server/catalog/catalog.h"
#include "server/dispatch/inference.h"
#include "tenon/v1/inference_service.grpc.pb.h"

namespace tenon::server {

class InferenceService final : public v1::InferenceService::CallbackService {
 public:
  InferenceService(CallRunner* runner, const ModelIndex* models, InferenceRouter* router)
      : runner_(runner), models_(models), router_(router) {}

  grpc::ServerUnaryReactor* Classify(grpc::CallbackServerContext* context, const v1::ClassifyRequest* request,
                                     v1::ClassifyResponse* response) override;
  grpc::ServerUnaryReactor* Embed(grpc::CallbackServerContext* context, const v1::EmbedRequest* request,
                                  v1::EmbedResponse* response) override;

  // inference_generation.cc
  grpc::ServerUnaryReactor* Generate(grpc::CallbackServerContext* context, const v1::GenerateRequest* request,
                                     v1::GenerateResponse* response) override;
  grpc::ServerWriteReactor<v1::StreamGenerateResponse>* StreamGenerate(
      grpc::CallbackServerContext* context, const v1::StreamGenerateRequest* request) override;
  grpc::ServerUnaryReactor* Summarize(grpc::CallbackServerContext* context, const v1::SummarizeRequest* request,
                                      v1::SummarizeResponse* response) override;

  // inference_spans.cc
  grpc::ServerUnaryReactor* TagTokens(grpc::CallbackServerContext* context, const v1::TagTokensRequest* request,
                                      v1::TagTokensResponse* response) override;
  grpc::ServerUnaryReactor* AnswerQuestion(grpc::CallbackServerContext* context,
                                           const v1::AnswerQuestionRequest* request,
                                           v1::AnswerQuestionResponse* response) override;

 private:
  CallRunner* runner_;
  const ModelIndex* models_;
  InferenceRouter* router_;
};

}  // namespace tenon::server
