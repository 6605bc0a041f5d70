// Options of `tenon generate` and `tenon summarize` that say how a text is written: one for each field of
// GenerationConfig, of the field's own name.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tenon/v1/inference_service.pb.h"

namespace tenon::cli {

struct GenerationFlags {
  std::vector<std::string> numbers;  // as written, in the order of the options; empty: not given
  std::string early_stopping;
  std::vector<std::string> bad_words, stop_strings;
  bool do_sample = false, return_scores = false;
  int max_input_tokens = 0;
};

// Whether a command gives one text a row (summaries) or lists of outputs with scores.
enum class Outputs { kOne, kMany };

// Outlives the command line: `flags` is written when it is read.
void AddGenerationFlags(CLI::App* command, GenerationFlags& flags, Outputs outputs);

// OPTION_INVALID names an option whose value cannot be read. Ranges are the server's to check.
absl::StatusOr<v1::GenerationConfig> ToConfig(const GenerationFlags& flags);

// Said on standard error behind a table: texts that were longer than what is read, options that did nothing.
class GenerationNotes {
 public:
  void AddRow(bool truncated) {
    ++rows_;
    truncated_ += truncated ? 1 : 0;
  }
  void AddIgnored(const google::protobuf::RepeatedPtrField<std::string>& options);
  // Lines without the last newline; empty when there is nothing to say.
  std::string ToString() const;

 private:
  int64_t rows_ = 0, truncated_ = 0;
  std::vector<std::string> ignored_;
};

}  // namespace tenon::cli
