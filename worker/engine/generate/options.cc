#include "worker/engine/generate/options.h"

namespace tenon::engine {
namespace {

template <typename T>
void Fill(std::optional<T>& field, const std::optional<T>& from) {
  if (!field.has_value()) field = from;
}

template <typename T>
void Fill(std::vector<T>& field, const std::vector<T>& from) {
  if (field.empty()) field = from;
}

}  // namespace

GenerationOptions Merge(const GenerationOptions& asked, const GenerationOptions& base) {
  GenerationOptions all = asked;
  if (!asked.max_length.has_value()) Fill(all.max_new_tokens, base.max_new_tokens);
  if (!asked.max_new_tokens.has_value()) Fill(all.max_length, base.max_length);
  if (!asked.min_length.has_value()) Fill(all.min_new_tokens, base.min_new_tokens);
  if (!asked.min_new_tokens.has_value()) Fill(all.min_length, base.min_length);
  // A base that usually searches with beams samples without them when it is asked to sample.
  if (!asked.do_sample.value_or(false)) Fill(all.num_beams, base.num_beams);
  Fill(all.num_return_sequences, base.num_return_sequences);
  Fill(all.length_penalty, base.length_penalty);
  Fill(all.early_stopping, base.early_stopping);
  Fill(all.temperature, base.temperature);
  Fill(all.top_k, base.top_k);
  Fill(all.top_p, base.top_p);
  Fill(all.typical_p, base.typical_p);
  Fill(all.repetition_penalty, base.repetition_penalty);
  Fill(all.no_repeat_ngram_size, base.no_repeat_ngram_size);
  Fill(all.bad_words, base.bad_words);
  Fill(all.suppress_tokens, base.suppress_tokens);
  Fill(all.begin_suppress_tokens, base.begin_suppress_tokens);
  Fill(all.forced_bos_token_id, base.forced_bos_token_id);
  Fill(all.forced_eos_token_ids, base.forced_eos_token_ids);
  Fill(all.stop_strings, base.stop_strings);
  Fill(all.eos_token_ids, base.eos_token_ids);
  Fill(all.pad_token_id, base.pad_token_id);
  Fill(all.decoder_start_token_id, base.decoder_start_token_id);
  return all;
}

}  // namespace tenon::engine
