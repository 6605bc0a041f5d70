#include "client/cli/generation_flags.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/cli/output.h"
#include "client/cli/set_option.h"
#include "common/formats/status.h"

namespace tenon::cli {
namespace {

struct NumberOption {
  const char* flag;  // `--max-new-tokens` sets `max_new_tokens`
  const char* help;
};

constexpr NumberOption kNumbers[] = {
    {"--max-new-tokens", "Most tokens of a reply; by default the base's own, else 20"},
    {"--min-new-tokens", "Fewest tokens of a reply"},
    {"--max-length", "Most tokens, what the decoder starts with counted too"},
    {"--min-length", "Fewest tokens, what the decoder starts with counted too"},
    {"--num-beams", "Beams of the search; 1 is greedy, or sampling"},
    {"--num-return-sequences", "Outputs for each text: at most --num-beams, or any number with --do-sample"},
    {"--length-penalty", "Beams: above 0 favours long outputs, below 0 short ones"},
    {"--temperature", "Sampling: below 1 keeps to likely tokens, above 1 strays"},
    {"--top-k", "Sampling: among so many of the likeliest tokens; 0 is all"},
    {"--top-p", "Sampling: among the likeliest tokens that together have this probability"},
    {"--typical-p", "Sampling: among the most typical tokens that together have this probability"},
    {"--seed", "Sampling: the same seed gives the same draws"},
    {"--repetition-penalty", "Above 1 makes tokens that were written already less likely"},
    {"--no-repeat-ngram-size", "Sequences of so many tokens come once alone; 0 is any"},
    {"--forced-bos-token-id", "First token of a reply, by its id: the target language of some bases"},
};

// `num_beams` of `--num-beams`.
std::string FieldOf(const char* flag) { return absl::StrReplaceAll(flag + 2, {{"-", "_"}}); }

}  // namespace

void AddGenerationFlags(CLI::App* command, GenerationFlags& flags, Outputs outputs) {
  const std::string group = "How a text is written";
  flags.numbers.resize(std::size(kNumbers));
  for (size_t i = 0; i < std::size(kNumbers); ++i) {
    if (outputs == Outputs::kOne && FieldOf(kNumbers[i].flag) == "num_return_sequences") continue;
    command->add_option(kNumbers[i].flag, flags.numbers[i], kNumbers[i].help)->type_name("NUMBER")->group(group);
  }
  command->add_flag("--do-sample", flags.do_sample, "Draw tokens instead of taking the likeliest")->group(group);
  command->add_option("--early-stopping", flags.early_stopping, "Beams: when to stop: false, true or never")
      ->group(group);
  command->add_option("--bad-words", flags.bad_words, "A text that no reply may hold; any number of times")
      ->allow_extra_args(false)
      ->group(group);
  command
      ->add_option("--stop,--stop-strings", flags.stop_strings,
                   "A text that ends the reply, which stops before it; any number of times")
      ->allow_extra_args(false)
      ->group(group);
  if (outputs == Outputs::kMany) {
    command->add_flag("--return-scores", flags.return_scores, "Show log-probabilities of tokens (with --output json)")
        ->group(group);
  }
  command
      ->add_option("--max-input-tokens", flags.max_input_tokens,
                   "Tokens a text is cut to; by default what the model was made for")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
}

absl::StatusOr<v1::GenerationConfig> ToConfig(const GenerationFlags& flags) {
  v1::GenerationConfig config;
  for (size_t i = 0; i < flags.numbers.size(); ++i) {
    if (flags.numbers[i].empty()) continue;
    RETURN_IF_ERROR(SetOption(absl::StrCat(FieldOf(kNumbers[i].flag), "=", flags.numbers[i]), {&config}));
  }
  if (flags.do_sample) config.set_do_sample(true);
  if (!flags.early_stopping.empty()) {
    ASSIGN_OR_RETURN(const auto stopping, ParseWord<v1::EarlyStopping>(flags.early_stopping, "--early-stopping"));
    config.set_early_stopping(stopping);
  }
  for (const std::string& word : flags.bad_words) config.add_bad_words(word);
  for (const std::string& text : flags.stop_strings) config.add_stop_strings(text);
  config.set_return_scores(flags.return_scores);
  return config;
}

void GenerationNotes::AddIgnored(const google::protobuf::RepeatedPtrField<std::string>& options) {
  for (const std::string& option : options) {
    if (std::find(ignored_.begin(), ignored_.end(), option) == ignored_.end()) ignored_.push_back(option);
  }
}

std::string GenerationNotes::ToString() const {
  std::vector<std::string> lines;
  if (truncated_ > 0) {
    lines.push_back(absl::StrCat("Warning: ", truncated_, " of ", rows_, rows_ == 1 ? " text was" : " texts were",
                                 " not read to the end."));
  }
  if (!ignored_.empty()) {
    lines.push_back(
        absl::StrCat("Warning: without effect beside the other options: ", absl::StrJoin(ignored_, ", "), "."));
  }
  return absl::StrJoin(lines, "\n");
}

}  // namespace tenon::cli
