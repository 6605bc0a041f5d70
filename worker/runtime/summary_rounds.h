// A text summarized with a model that reads less than the text: by pieces, and by summaries of summaries. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "worker/engine/text/sentences.h"

namespace tenon::runtime {

// Rounds: a text that fits is summarized once. A longer one is cut between sentences into pieces that fit, each is
// summarized, and the summaries, joined in order, are the next round's text. When a round does not make the text
// shorter, or after kMaxRounds, it is given whole, for the tokenizer to cut, and so is a text without sentences to cut
// between.
class SummaryRounds {
 public:
  static constexpr int kMaxRounds = 8;
  // Tokens of a text as the model would read it, all that is added included.
  using Count = std::function<int64_t(const std::string&)>;
  struct Options {
    int64_t max_tokens = 0;  // that the model reads
    bool combine = false;    // without it, one round, and the tokenizer cuts
  };

  // `splitter` must outlive this.
  SummaryRounds(std::string text, const Options& options, Count count, const engine::SentenceSplitter* splitter)
      : text_(std::move(text)), options_(options), count_(std::move(count)), splitter_(splitter) {}

  // What is to be summarized next; empty when summary() is final.
  std::vector<std::string> Next();
  // The summaries of what Next gave, in order.
  void Take(const std::vector<std::string>& summaries);
  const std::string& summary() const { return text_; }

 private:
  std::vector<std::string> Pieces() const;

  std::string text_;  // of this round; in the end the summary
  const Options options_;
  const Count count_;
  const engine::SentenceSplitter* const splitter_;
  int64_t tokens_ = -1;  // of the last round's text
  int round_ = 0;
  bool last_ = false, finished_ = false;
};

}  // namespace tenon::runtime
