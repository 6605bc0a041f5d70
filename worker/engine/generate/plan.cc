#include "worker/engine/generate/plan.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"

namespace tenon::engine {
namespace {

constexpr int64_t kDefaultNewTokens = 20;  // transformers', where neither the request nor the base says
constexpr int64_t kDefaultTopK = 50;       // likewise
constexpr size_t kMaxBadWords = 1024, kMaxStopStrings = 16, kMaxStopBytes = 256;

absl::Status Wrong(const char* field, const std::string& what) {
  return TenonError(Reason::kFieldInvalid, absl::StrCat(field, " ", what), field);
}

template <typename T>
absl::Status AtLeast(const char* field, const std::optional<T>& value, T low) {
  if (!value.has_value() || *value >= low) return absl::OkStatus();
  return Wrong(field, absl::StrCat("is ", *value, "; it must be at least ", low));
}

constexpr double kAny = std::numeric_limits<double>::max();

// NaN is in no range. Limits of kAny and -kAny only ask for a number that is finite.
absl::Status Between(const char* field, const std::optional<double>& value, double low, bool open, double high) {
  if (!value.has_value() || ((open ? *value > low : *value >= low) && *value <= high)) return absl::OkStatus();
  const std::string from = low > -kAny ? absl::StrCat(open ? "above " : "at least ", low, " and ") : "";
  const std::string to = high < kAny ? absl::StrCat("at most ", high) : "finite";
  return Wrong(field, absl::StrCat("is ", *value, "; it must be ", from, to));
}

absl::Status CheckIds(const char* field, const std::vector<int32_t>& ids, int64_t vocab_size) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size) {
      return Wrong(field, absl::StrCat("has the token id ", id, "; the base has ", vocab_size, " tokens"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckRanges(const GenerationOptions& options) {
  RETURN_IF_ERROR(AtLeast<int64_t>("max_new_tokens", options.max_new_tokens, 1));
  RETURN_IF_ERROR(AtLeast<int64_t>("min_new_tokens", options.min_new_tokens, 0));
  RETURN_IF_ERROR(AtLeast<int64_t>("min_length", options.min_length, 0));
  RETURN_IF_ERROR(AtLeast<int64_t>("num_beams", options.num_beams, 1));
  RETURN_IF_ERROR(AtLeast<int64_t>("num_return_sequences", options.num_return_sequences, 1));
  RETURN_IF_ERROR(AtLeast<int64_t>("top_k", options.top_k, 0));
  RETURN_IF_ERROR(AtLeast<int64_t>("no_repeat_ngram_size", options.no_repeat_ngram_size, 0));
  RETURN_IF_ERROR(Between("length_penalty", options.length_penalty, -kAny, false, kAny));
  RETURN_IF_ERROR(Between("temperature", options.temperature, 0, true, kAny));
  RETURN_IF_ERROR(Between("top_p", options.top_p, 0, false, 1));
  RETURN_IF_ERROR(Between("typical_p", options.typical_p, 0, true, 1));
  return Between("repetition_penalty", options.repetition_penalty, 0, true, kAny);
}

absl::Status CheckWords(const GenerationOptions& options, const GenerationLimits& limits) {
  if (options.bad_words.size() > kMaxBadWords) {
    return Wrong("bad_words", absl::StrCat("has ", options.bad_words.size(), " entries; at most ", kMaxBadWords));
  }
  for (const std::vector<int32_t>& word : options.bad_words) {
    if (word.empty()) return Wrong("bad_words", "has an entry without tokens");
    RETURN_IF_ERROR(CheckIds("bad_words", word, limits.vocab_size));
  }
  RETURN_IF_ERROR(CheckIds("suppress_tokens", options.suppress_tokens, limits.vocab_size));
  RETURN_IF_ERROR(CheckIds("begin_suppress_tokens", options.begin_suppress_tokens, limits.vocab_size));
  RETURN_IF_ERROR(CheckIds("eos_token_ids", options.eos_token_ids, limits.vocab_size));
  RETURN_IF_ERROR(CheckIds("forced_eos_token_ids", options.forced_eos_token_ids, limits.vocab_size));
  if (options.forced_bos_token_id.has_value()) {
    RETURN_IF_ERROR(CheckIds("forced_bos_token_id", {*options.forced_bos_token_id}, limits.vocab_size));
  }
  if (options.stop_strings.size() > kMaxStopStrings) {
    return Wrong("stop_strings",
                 absl::StrCat("has ", options.stop_strings.size(), " entries; at most ", kMaxStopStrings));
  }
  for (const std::string& text : options.stop_strings) {
    if (text.empty()) return Wrong("stop_strings", "has an empty entry");
    if (text.size() > kMaxStopBytes) {
      return Wrong("stop_strings", absl::StrCat("has an entry of ", text.size(), " bytes; at most ", kMaxStopBytes));
    }
    if (!formats::IsValidUtf8(text)) return Wrong("stop_strings", "has an entry that is not valid UTF-8");
  }
  return absl::OkStatus();
}

// Lengths into the plan; `all` is `asked` over the base's.
absl::Status SetLengths(const GenerationOptions& asked, const GenerationOptions& all, const GenerationLimits& limits,
                        GenerationPlan& plan) {
  const int64_t prefix = plan.prefix_tokens = limits.prefix_tokens;
  const char* max_field = "max_new_tokens";
  if (all.max_new_tokens.has_value()) {
    plan.max_length = std::min(*all.max_new_tokens, std::numeric_limits<int64_t>::max() - prefix) + prefix;
  } else if (all.max_length.has_value()) {
    max_field = "max_length";
    plan.max_length = *all.max_length;
    if (plan.max_length <= prefix) {
      return Wrong(max_field, absl::StrCat("is ", plan.max_length, ", which leaves no token to write: it counts the ",
                                           prefix, " that the decoder starts with"));
    }
  } else {
    plan.max_length = kDefaultNewTokens + prefix;
  }
  const bool asked_max = asked.max_new_tokens.has_value() || asked.max_length.has_value();
  if (limits.max_positions > 0 && plan.max_length > limits.max_positions) {
    if (asked_max || prefix >= limits.max_positions) {
      return Wrong(max_field, absl::StrCat("asks for a sequence of ", plan.max_length,
                                           " tokens; the base's decoder takes ", limits.max_positions));
    }
    plan.max_length = limits.max_positions;
  }
  if (limits.max_new_tokens > 0 && plan.max_length - prefix > limits.max_new_tokens) {
    if (asked_max) {
      return Wrong(max_field, absl::StrCat("asks for ", plan.max_length - prefix, " new tokens; at most ",
                                           limits.max_new_tokens, " are allowed"));
    }
    plan.max_length = limits.max_new_tokens + prefix;
  }
  const char* min_field = all.min_new_tokens.has_value() ? "min_new_tokens" : "min_length";
  plan.min_length = all.min_new_tokens.has_value() ? std::min(*all.min_new_tokens, plan.max_length) + prefix
                                                   : all.min_length.value_or(0);
  // A base's own minimum above the request's maximum bars the end of the sequence to the last token, as in
  // transformers.
  if (plan.min_length > plan.max_length && (asked.min_new_tokens.has_value() || asked.min_length.has_value())) {
    return Wrong(min_field,
                 absl::StrCat("asks for more tokens than ", max_field, " allows (", plan.max_length - prefix, ")"));
  }
  return absl::OkStatus();
}

absl::Status SetMode(const GenerationOptions& all, const GenerationLimits& limits, GenerationPlan& plan) {
  const bool sample = all.do_sample.value_or(false);
  plan.num_beams = all.num_beams.value_or(1);
  plan.num_return_sequences = all.num_return_sequences.value_or(1);
  if (sample && plan.num_beams > 1) {
    return TenonError(Reason::kUnsupported,
                      "beam sampling (do_sample with num_beams above 1) is not supported; set one of them",
                      "do_sample");
  }
  plan.mode = sample ? SearchMode::kSample : plan.num_beams > 1 ? SearchMode::kBeam : SearchMode::kGreedy;
  if (limits.streaming && plan.mode == SearchMode::kBeam) {
    return Wrong("num_beams",
                 absl::StrCat("is ", plan.num_beams,
                              "; a reply is streamed with num_beams 1 alone: beams change what they wrote"));
  }
  if (plan.mode == SearchMode::kGreedy && plan.num_return_sequences > 1) {
    return Wrong("num_return_sequences", absl::StrCat("is ", plan.num_return_sequences,
                                                      "; greedy search gives one: set do_sample or num_beams"));
  }
  if (plan.mode == SearchMode::kBeam && plan.num_return_sequences > plan.num_beams) {
    return Wrong("num_return_sequences",
                 absl::StrCat("is ", plan.num_return_sequences, "; ", plan.num_beams, " beams give at most as many"));
  }
  if (plan.max_lines() > limits.max_lines) {
    return Wrong(plan.mode == SearchMode::kBeam ? "num_beams" : "num_return_sequences",
                 absl::StrCat("is ", plan.max_lines(), "; at most ", limits.max_lines, " are allowed"));
  }
  if (plan.mode == SearchMode::kBeam && plan.num_beams >= limits.vocab_size) {
    return Wrong("num_beams", absl::StrCat("is ", plan.num_beams, "; the base has ", limits.vocab_size, " tokens"));
  }
  return absl::OkStatus();
}

// What the request set to no effect; a value that is the default anyhow is not worth a word.
void ListIgnored(const GenerationOptions& asked, GenerationPlan& plan) {
  const auto ignore = [&plan](bool set, const char* field) {
    if (set) plan.ignored.push_back(field);
  };
  ignore(asked.max_new_tokens.has_value() && asked.max_length.has_value(), "max_length");
  ignore(asked.min_new_tokens.has_value() && asked.min_length.has_value(), "min_length");
  if (plan.mode != SearchMode::kBeam) {
    ignore(asked.length_penalty.value_or(1) != 1, "length_penalty");
    ignore(asked.early_stopping.value_or(EarlyStopping::kFalse) != EarlyStopping::kFalse, "early_stopping");
  }
  if (plan.mode != SearchMode::kSample) {
    ignore(asked.temperature.value_or(1) != 1, "temperature");
    ignore(asked.top_k.value_or(kDefaultTopK) != kDefaultTopK, "top_k");
    ignore(asked.top_p.value_or(1) != 1, "top_p");
    ignore(asked.typical_p.value_or(1) != 1, "typical_p");
    ignore(asked.seed.has_value(), "seed");
  }
}

}  // namespace

bool GenerationPlan::IsEos(int32_t token) const {
  return std::find(eos_token_ids.begin(), eos_token_ids.end(), token) != eos_token_ids.end();
}

absl::StatusOr<GenerationPlan> MakePlan(const GenerationOptions& asked, const GenerationOptions& base,
                                        const GenerationLimits& limits) {
  const GenerationOptions all = Merge(asked, base);
  RETURN_IF_ERROR(CheckRanges(all));
  RETURN_IF_ERROR(CheckWords(all, limits));
  GenerationPlan plan;
  RETURN_IF_ERROR(SetLengths(asked, all, limits, plan));
  RETURN_IF_ERROR(SetMode(all, limits, plan));
  plan.length_penalty = all.length_penalty.value_or(1);
  plan.early_stopping = all.early_stopping.value_or(EarlyStopping::kFalse);
  plan.temperature = all.temperature.value_or(1);
  plan.top_k = all.top_k.value_or(kDefaultTopK);
  plan.top_p = all.top_p.value_or(1);
  plan.typical_p = all.typical_p.value_or(1);
  plan.seed = all.seed.value_or(0);
  plan.repetition_penalty = all.repetition_penalty.value_or(1);
  plan.no_repeat_ngram_size = all.no_repeat_ngram_size.value_or(0);
  plan.suppress_tokens = all.suppress_tokens;
  plan.begin_suppress_tokens = all.begin_suppress_tokens;
  plan.forced_bos_token_id = all.forced_bos_token_id.value_or(-1);
  plan.forced_eos_token_ids = all.forced_eos_token_ids;
  plan.stop_strings = all.stop_strings;
  plan.eos_token_ids = all.eos_token_ids;
  plan.return_scores = all.return_scores;
  // The end of a sequence cannot be a bad word: transformers drops it from the list.
  for (const std::vector<int32_t>& word : all.bad_words) {
    if (word.size() > 1 || !plan.IsEos(word.front())) plan.bad_words.push_back(word);
  }
  ListIgnored(asked, plan);
  return plan;
}

}  // namespace tenon::engine
