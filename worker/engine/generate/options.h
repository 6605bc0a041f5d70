// What may be asked of generation, in the words and with the meaning of Hugging Face's GenerationConfig (transformers
// 5). A request's options and a base's generation_config.json are the same struct; what neither sets has transformers'
// default. Free of torch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tenon::engine {

// When beam search stops once as many hypotheses are finished as it has beams.
enum class EarlyStopping {
  kFalse,  // when the best open beam, at its present length, could not beat the worst finished one
  kTrue,   // at once
  kNever,  // when the best open beam could not, at the most favourable length that is left
};

struct GenerationOptions {
  // Tokens of the reply. The forms without `new` count what the decoder starts with as well: one token for an
  // encoder-decoder, the prompt for a decoder. The `new` forms win. Without any, a reply has at most 20 tokens.
  std::optional<int64_t> max_new_tokens, min_new_tokens;
  std::optional<int64_t> max_length, min_length;

  std::optional<int64_t> num_beams;             // 1: greedy, or sampling
  std::optional<int64_t> num_return_sequences;  // 1
  std::optional<double> length_penalty;         // beams: score = log-probability / tokens ^ length_penalty; 1
  std::optional<EarlyStopping> early_stopping;  // beams; false

  std::optional<bool> do_sample;  // read from the request alone: a base never turns it on
  std::optional<double> temperature;
  std::optional<int64_t> top_k;  // 50; 0: all
  std::optional<double> top_p;
  std::optional<double> typical_p;
  std::optional<uint64_t> seed;  // 0; the same seed gives the same draws, whatever else is in the batch

  std::optional<double> repetition_penalty;  // Keskar et al., CTRL, 2019; 1
  std::optional<int64_t> no_repeat_ngram_size;
  std::vector<std::vector<int32_t>> bad_words;  // sequences of ids that no reply may hold
  std::vector<int32_t> suppress_tokens;         // ids that no reply may hold
  std::vector<int32_t> begin_suppress_tokens;   // ids that no reply may begin with
  std::optional<int32_t> forced_bos_token_id;   // first token of the reply, where the decoder starts with one token
  std::vector<int32_t> forced_eos_token_ids;    // what the last token that max_length allows must be one of

  std::vector<std::string> stop_strings;  // UTF-8; the reply ends before the first of them
  std::vector<int32_t> eos_token_ids;
  std::optional<int32_t> pad_token_id, decoder_start_token_id;

  bool return_scores = false;  // log-probabilities, and the hypotheses' scores
};

// `asked` over `base`: what a request leaves open is the base's. A request that sets one form of a length (`max_length`
// or `max_new_tokens`) is not overruled by the base's other form.
GenerationOptions Merge(const GenerationOptions& asked, const GenerationOptions& base);

}  // namespace tenon::engine
