#include "server/api/generation_requests.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"
#include "common/generation_options.h"
#include "server/api/inference_replies.h"

namespace tenon::server {
namespace {

constexpr char kGeneration[] = "generation.";
constexpr char kExtractive[] = "extractive.";

absl::Status Wrong(const std::string& field, const std::string& what) {
  return TenonError(Reason::kFieldInvalid, absl::StrCat(field, " ", what), field);
}

absl::Status CheckMaxInputTokens(int32_t tokens) {
  if (tokens >= 0) return absl::OkStatus();
  return Wrong("max_input_tokens", absl::StrCat("is ", tokens, "; it must not be negative"));
}

absl::Status CheckExtractive(const v1::ExtractiveOptions& options) {
  if (options.max_sentences() < 0 || options.max_sentences() > kMaxSummarySentences) {
    return Wrong("extractive.max_sentences", absl::StrCat("is ", options.max_sentences(), "; it must be 1 to ",
                                                          kMaxSummarySentences, ", or 0 for 3"));
  }
  if (!v1::ExtractiveMethod_IsValid(options.method())) {
    return Wrong("extractive.method", "must be MMR, CENTROID, LEAD or SCORER");
  }
  if (options.has_relevance() && !(options.relevance() >= 0 && options.relevance() <= 1)) {
    return Wrong("extractive.relevance", absl::StrCat("is ", options.relevance(), "; it must be 0 to 1"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckGenerate(const v1::GenerateRequest& request) {
  if (request.model_case() == v1::GenerateRequest::MODEL_NOT_SET) return ModelRequired();
  RETURN_IF_ERROR(CheckGenerationConfig(request.generation(), kGeneration));
  RETURN_IF_ERROR(CheckMaxInputTokens(request.max_input_tokens()));
  return CheckTexts(request.texts());
}

absl::Status CheckStreamGenerate(const v1::StreamGenerateRequest& request) {
  if (request.model_case() == v1::StreamGenerateRequest::MODEL_NOT_SET) return ModelRequired();
  const v1::GenerationConfig& config = request.generation();
  RETURN_IF_ERROR(CheckGenerationConfig(config, kGeneration));
  if (config.num_beams() > 1) {
    return Wrong("generation.num_beams",
                 absl::StrCat("is ", config.num_beams(), "; a stream takes 1: beams change what they wrote"));
  }
  if (config.num_return_sequences() > 1) {
    return Wrong("generation.num_return_sequences",
                 absl::StrCat("is ", config.num_return_sequences(), "; a stream shows one text"));
  }
  RETURN_IF_ERROR(CheckMaxInputTokens(request.max_input_tokens()));
  if (request.text().empty()) return TenonError(Reason::kFieldRequired, "a text is required", "text");
  return formats::CheckText(request.text(), kMaxTextBytes, "text");
}

absl::Status CheckSummarize(const v1::SummarizeRequest& request) {
  if (request.model_case() == v1::SummarizeRequest::MODEL_NOT_SET) return ModelRequired();
  const v1::GenerationConfig& config = request.generation();
  RETURN_IF_ERROR(CheckGenerationConfig(config, kGeneration));
  if (config.num_return_sequences() > 1) {
    return Wrong("generation.num_return_sequences",
                 absl::StrCat("is ", config.num_return_sequences(), "; a text has one summary"));
  }
  if (config.return_scores()) return Wrong("generation.return_scores", "is for Generate: a summary has no scores");
  RETURN_IF_ERROR(CheckExtractive(request.extractive()));
  RETURN_IF_ERROR(CheckMaxInputTokens(request.max_input_tokens()));
  return CheckTexts(request.texts(), kMaxSummarizedTexts);
}

absl::Status NameRequestField(const absl::Status& status, const char* model_field) {
  if (status.ok()) return status;
  std::string field = GetField(status);
  if (v1::GenerationConfig::descriptor()->FindFieldByName(field) != nullptr) {
    field = kGeneration + field;
  } else if (v1::ExtractiveOptions::descriptor()->FindFieldByName(field) != nullptr) {
    field = kExtractive + field;
  } else if (field.empty() && GetReason(status) == Reason::kNotGenerative) {
    field = model_field;
  } else {
    return status;
  }
  return TenonError(GetReason(status), std::string(status.message()), field);
}

}  // namespace tenon::server
