#include "worker/runtime/summary_rounds.h"

#include <utility>

#include "absl/strings/str_join.h"

namespace tenon::runtime {

std::vector<std::string> SummaryRounds::Next() {
  if (finished_) return {};
  std::vector<std::string> pieces;
  if (options_.combine && round_ < kMaxRounds) {
    const int64_t tokens = count_(text_);
    const bool shrank = tokens_ < 0 || tokens < tokens_;
    if (tokens > options_.max_tokens && shrank) pieces = Pieces();
    tokens_ = tokens;
  }
  ++round_;
  last_ = pieces.size() <= 1;
  return last_ ? std::vector<std::string>{text_} : pieces;
}

void SummaryRounds::Take(const std::vector<std::string>& summaries) {
  text_ = absl::StrJoin(summaries, "\n");  // a line's end is a sentence's end, whatever the model wrote
  // Nothing but white space was written: there is nothing to go on with.
  finished_ = last_ || text_.find_first_not_of(" \n") == std::string::npos;
}

// Runs of whole sentences, each as long as the model reads. A sentence that is longer is a piece of its own.
std::vector<std::string> SummaryRounds::Pieces() const {
  const std::vector<engine::Sentence> sentences = splitter_->Split(text_);
  const int64_t frame = count_("");  // what every piece has around it
  std::vector<std::string> pieces;
  for (size_t first = 0; first < sentences.size();) {
    size_t end = first;
    for (int64_t tokens = frame; end < sentences.size(); ++end) {
      tokens += count_(text_.substr(sentences[end].begin, sentences[end].end - sentences[end].begin)) - frame;
      if (tokens > options_.max_tokens && end > first) break;
    }
    const auto piece = [&] {
      return text_.substr(sentences[first].begin, sentences[end - 1].end - sentences[first].begin);
    };
    // Together they may take a token more than apart.
    while (end > first + 1 && count_(piece()) > options_.max_tokens) --end;
    pieces.push_back(piece());
    first = end;
  }
  return pieces;
}

}  // namespace tenon::runtime
