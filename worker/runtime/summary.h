// Summaries, as the runtime is asked for them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/formats/text_template.h"
#include "worker/engine/generate/options.h"

namespace tenon::runtime {

// How sentences are chosen; for a base that encodes.
struct ExtractiveChoice {
  enum class Method { kMmr, kCentroid, kLead, kScorer };
  // kScorer: by an adapter that was trained to score sentences. Unset: by such an adapter, else kMmr.
  std::optional<Method> method;
  int64_t max_sentences = 3;
  // Of kMmr, 0 to 1: being like the whole text, against being unlike the sentences chosen. Unset: 0.7.
  std::optional<double> relevance;
};

struct SummaryCall {
  std::string base_digest;
  std::string adapter_digest;  // empty: the base alone
  std::vector<std::string> texts;
  // For a base that generates. Behind the options come the base's own for summaries, then those for any text.
  std::optional<engine::GenerationOptions> options;
  std::vector<std::string> bad_words;
  int64_t max_input_tokens = 0;  // 0: the adapter's or the base's own
  bool combine_chunks = false;   // summary_rounds.h
  // What stands around each text, or each of its pieces, for a base that generates. Unset: the base's own prefix.
  std::optional<formats::TextPattern::Frame> frame;
  // For a base that encodes. A text's first 4096 sentences are read.
  std::optional<ExtractiveChoice> extractive;
  absl::Time deadline = absl::InfiniteFuture();
};

struct SummaryRow {
  std::string summary;
  std::vector<int32_t> sentences;  // extractive: the chosen ones' places in the text, in order
  // All that the model read and wrote for the text, over all rounds.
  int32_t input_tokens = 0, output_tokens = 0;
  bool truncated = false;  // a part of the text was not read
};

struct SummaryReply {
  bool extractive = false;
  std::vector<SummaryRow> rows;
  std::vector<std::string> ignored_options;  // that did nothing: beside the others, or with this kind of base
  absl::Duration queue_time, compute_time;
};

}  // namespace tenon::runtime
