#include "common/generation_options.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"

namespace tenon {
namespace {

absl::Status Wrong(const std::string& field, const std::string& what) {
  return TenonError(Reason::kFieldInvalid, absl::StrCat(field, " ", what), field);
}

// Whole numbers and real ones of GenerationConfig that the request sets.
class Options {
 public:
  explicit Options(const std::string& path) : path_(path) {}
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
    if (status_.ok()) status_ = Wrong(path_ + name, what);
  }
  absl::Status status() const { return status_; }

 private:
  const std::string& path_;
  absl::Status status_;
};

absl::Status CheckRanges(const v1::GenerationConfig& config, const std::string& path) {
  constexpr double kAny = std::numeric_limits<double>::infinity();
  Options options(path);
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

}  // namespace

absl::Status CheckGenerationConfig(const v1::GenerationConfig& config, const std::string& path) {
  RETURN_IF_ERROR(CheckRanges(config, path));
  // Of the rules between options, those that hold for every base: both sides are the request's own.
  if (config.has_max_new_tokens() && config.min_new_tokens() > config.max_new_tokens()) {
    return Wrong(path + "min_new_tokens",
                 absl::StrCat("is ", config.min_new_tokens(), ", above max_new_tokens ", config.max_new_tokens()));
  }
  const bool lengths_alone = !config.has_max_new_tokens() && !config.has_min_new_tokens();
  if (lengths_alone && config.has_max_length() && config.min_length() > config.max_length()) {
    return Wrong(path + "min_length",
                 absl::StrCat("is ", config.min_length(), ", above max_length ", config.max_length()));
  }
  if (config.do_sample() && config.num_beams() > 1) {
    return TenonError(Reason::kUnsupported,
                      "beam sampling (do_sample with num_beams above 1) is not supported; set one of them",
                      path + "do_sample");
  }
  if (!config.do_sample() && config.has_num_beams() && config.num_return_sequences() > config.num_beams()) {
    return Wrong(path + "num_return_sequences",
                 absl::StrCat("is ", config.num_return_sequences(), "; ",
                              config.num_beams() == 1 ? "greedy search gives one: set do_sample or num_beams"
                                                      : "as many as num_beams can be returned"));
  }
  return absl::OkStatus();
}

}  // namespace tenon
