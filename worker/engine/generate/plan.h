// A request's generation, decided: every option checked against the base and the others, every default filled in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/generate/options.h"

namespace tenon::engine {

enum class SearchMode {
  kGreedy,
  kSample,
  kBeam,
  kGiven,  // nothing is searched for: a given target is read (target_search.h)
};

// What the base and the worker allow.
struct GenerationLimits {
  int64_t vocab_size = 0;
  int64_t prefix_tokens = 1;   // what the decoder starts with: 1 for an encoder-decoder, else the prompt's tokens
  int64_t max_positions = 0;   // longest sequence of the decoder, prefix included; 0: any
  int64_t max_new_tokens = 0;  // longest reply that the worker takes on; 0: any
  int64_t max_lines = 64;      // most beams, or sampled sequences, of one request
  bool streaming = false;      // the reply is to be shown while it is written
};

// All lengths are of whole sequences, in tokens, with what the decoder starts with.
struct GenerationPlan {
  SearchMode mode = SearchMode::kGreedy;
  int64_t prefix_tokens = 1;
  int64_t max_length = 21, min_length = 0;
  int64_t num_beams = 1;  // kBeam: at least 2
  int64_t num_return_sequences = 1;
  double length_penalty = 1;
  EarlyStopping early_stopping = EarlyStopping::kFalse;
  double temperature = 1, top_p = 1, typical_p = 1;
  int64_t top_k = 0;  // 0: all
  uint64_t seed = 0;
  double repetition_penalty = 1;
  int64_t no_repeat_ngram_size = 0;  // 0: any n-gram may come again
  std::vector<std::vector<int32_t>> bad_words;
  std::vector<int32_t> suppress_tokens, begin_suppress_tokens;
  int32_t forced_bos_token_id = -1;  // -1: none
  std::vector<int32_t> forced_eos_token_ids;
  std::vector<std::string> stop_strings;
  std::vector<int32_t> eos_token_ids;
  bool return_scores = false;

  // Options that the request set and that do nothing beside its others, as transformers warns of; the reply names them.
  std::vector<std::string> ignored;

  // Most lines of the decoder that the request ever holds.
  int64_t max_lines() const { return mode == SearchMode::kBeam ? num_beams : num_return_sequences; }
  bool IsEos(int32_t token) const;
};

// FIELD_INVALID, or UNSUPPORTED for sampling with beams; the error names the option. `asked` is the request's, `base`
// the base's.
absl::StatusOr<GenerationPlan> MakePlan(const GenerationOptions& asked, const GenerationOptions& base,
                                        const GenerationLimits& limits);

}  // namespace tenon::engine
