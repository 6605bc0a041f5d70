#include "server/api/generation_requests.h"

#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"
#include "server/api/inference_replies.h"

namespace tenon::server {
namespace {

constexpr char kGeneration[] = "generation.";
constexpr char kExtractive[] = "extractive.";

absl::Status Wrong(const std::string& field, const std::string& what) {
  return TenonError(Reason::kFieldInvalid, absl::StrCat(field, " ", what), field);
}

// Whole numbers and real ones of GenerationConfig that the request sets.
class Options {
 public:
  void AtLeast(const char* name, bool set, int64_t value, int64_t low) {
    if (set && value < low) Fault(name, absl::StrCat("is ", value, "; it must be at least ", low));
  }
  // NaN is in no range.
  void Between(const char* name, bool set, double value, double low, double high) {
    if (set && !(value >= low && value <= high)) {
      Fault(name, absl::StrCat("is ", value, "; it must be ", low, " to ", high));
    }
  }
  void Above(const char* name, bool set, double value, double low, double high) {
    if (set && !(value > low && value <= high && std::isfinite(value))) {
      const std::string limit = std::isfinite(high) ? absl::StrCat(" and at most ", high) : " and finite";
      Fault(name, absl::StrCat("is ", value, "; it must be above ", low, limit));
    }
  }
  void Finite(const char* name, bool set, double value) {
    if (set && !std::isfinite(value)) Fault(name, "must be a finite number");
  }
  void Phrases(const char* name, const google::protobuf::RepeatedPtrField<std::string>& phrases, int most) {
    if (phrases.size() > most) Fault(name, absl::StrCat("has ", phrases.size(), " entries; at most ", most));
    for (int i = 0; i < phrases.size(); ++i) {
      const std::string entry = absl::StrCat(name, "[", i, "]");
      if (phrases[i].empty()) Fault(entry, "is empty");
      if (phrases[i].size() > kMaxPhraseBytes) {
        Fault(entry, absl::StrCat("has ", phrases[i].size(), " bytes; at most ", kMaxPhraseBytes));
      }
      if (!formats::IsValidUtf8(phrases[i])) Fault(entry, "is not valid UTF-8");
    }
  }
  // The first fault is kept.
  void Fault(const std::string& name, const std::string& what) {
    if (status_.ok()) status_ = Wrong(kGeneration + name, what);
  }
  absl::Status status() const { return status_; }

 private:
  absl::Status status_;
};

absl::Status CheckRanges(const v1::GenerationConfig& config) {
  constexpr double kAny = std::numeric_limits<double>::infinity();
  Options options;
  options.AtLeast("max_new_tokens", config.has_max_new_tokens(), config.max_new_tokens(), 1);
  options.AtLeast("min_new_tokens", config.has_min_new_tokens(), config.min_new_tokens(), 0);
  options.AtLeast("max_length", config.has_max_length(), config.max_length(), 1);
  options.AtLeast("min_length", config.has_min_length(), config.min_length(), 0);
  options.AtLeast("num_beams", config.has_num_beams(), config.num_beams(), 1);
  options.AtLeast("num_return_sequences", config.has_num_return_sequences(), config.num_return_sequences(), 1);
  options.Finite("length_penalty", config.has_length_penalty(), config.length_penalty());
  if (!v1::EarlyStopping_IsValid(config.early_stopping())) {
    options.Fault("early_stopping", "must be FALSE, TRUE or NEVER");
  }
  options.Above("temperature", config.has_temperature(), config.temperature(), 0, kAny);
  options.AtLeast("top_k", config.has_top_k(), config.top_k(), 0);
  options.Between("top_p", config.has_top_p(), config.top_p(), 0, 1);
  options.Above("typical_p", config.has_typical_p(), config.typical_p(), 0, 1);
  options.Above("repetition_penalty", config.has_repetition_penalty(), config.repetition_penalty(), 0, kAny);
  options.AtLeast("no_repeat_ngram_size", config.has_no_repeat_ngram_size(), config.no_repeat_ngram_size(), 0);
  options.AtLeast("forced_bos_token_id", config.has_forced_bos_token_id(), config.forced_bos_token_id(), 0);
  options.Phrases("bad_words", config.bad_words(), kMaxBadWords);
  options.Phrases("stop_strings", config.stop_strings(), kMaxStopStrings);
  return options.status();
}

// Of the rules between options, those that hold for every base: both sides are the request's own.
absl::Status CheckConfig(const v1::GenerationConfig& config) {
  RETURN_IF_ERROR(CheckRanges(config));
  if (config.has_max_new_tokens() && config.min_new_tokens() > config.max_new_tokens()) {
    return Wrong("generation.min_new_tokens",
                 absl::StrCat("is ", config.min_new_tokens(), ", above max_new_tokens ", config.max_new_tokens()));
  }
  const bool lengths_alone = !config.has_max_new_tokens() && !config.has_min_new_tokens();
  if (lengths_alone && config.has_max_length() && config.min_length() > config.max_length()) {
    return Wrong("generation.min_length",
                 absl::StrCat("is ", config.min_length(), ", above max_length ", config.max_length()));
  }
  if (config.do_sample() && config.num_beams() > 1) {
    return TenonError(Reason::kUnsupported,
                      "beam sampling (do_sample with num_beams above 1) is not supported; set one of them",
                      "generation.do_sample");
  }
  if (!config.do_sample() && config.has_num_beams() && config.num_return_sequences() > config.num_beams()) {
    return Wrong("generation.num_return_sequences",
                 absl::StrCat("is ", config.num_return_sequences(), "; ",
                              config.num_beams() == 1 ? "greedy search gives one: set do_sample or num_beams"
                                                      : "as many as num_beams can be returned"));
  }
  return absl::OkStatus();
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
    return Wrong("extractive.method", "must be MMR, CENTROID or LEAD");
  }
  if (options.has_relevance() && !(options.relevance() >= 0 && options.relevance() <= 1)) {
    return Wrong("extractive.relevance", absl::StrCat("is ", options.relevance(), "; it must be 0 to 1"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckGenerate(const v1::GenerateRequest& request) {
  if (request.model_case() == v1::GenerateRequest::MODEL_NOT_SET) return ModelRequired();
  RETURN_IF_ERROR(CheckConfig(request.generation()));
  RETURN_IF_ERROR(CheckMaxInputTokens(request.max_input_tokens()));
  return CheckTexts(request.texts());
}

absl::Status CheckStreamGenerate(const v1::StreamGenerateRequest& request) {
  if (request.model_case() == v1::StreamGenerateRequest::MODEL_NOT_SET) return ModelRequired();
  const v1::GenerationConfig& config = request.generation();
  RETURN_IF_ERROR(CheckConfig(config));
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
  RETURN_IF_ERROR(CheckConfig(config));
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
