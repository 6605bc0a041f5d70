// What generation gives. Free of torch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tenon::engine {

enum class FinishReason {
  kEos,         // the model ended the sequence
  kStopString,  // one of stop_strings was written
  kLength,      // max_length was reached
  kExhausted,   // the options left no token to go on with
};

// A line's next token.
struct Choice {
  int32_t token = -1;  // -1: no token is possible
  float log_prob = 0;  // after the options' changes to the scores
};

struct GeneratedSequence {
  std::vector<int32_t> tokens;   // without what the decoder started with; the end-of-sequence token included
  std::vector<float> log_probs;  // of each token, after the options' changes to the scores; empty unless asked for
  float score = 0;  // beams: log-probability / tokens ^ length_penalty; else the sum of log_probs, 0 unless asked for
  FinishReason reason = FinishReason::kLength;
  int64_t foreseen_tokens = 0;  // of a target that was given: tokens that the model held for the likeliest
  std::string text;             // up to the stop string, if there was one; empty without a Detokenizer
};

}  // namespace tenon::engine
