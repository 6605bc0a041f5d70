#include "worker/engine/summarize/scorer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/formats/status.h"
#include "worker/engine/summarize/oracle.h"

namespace tenon::engine {
namespace {

constexpr int64_t kOracleSentences = 3;  // as many as a summary has unless it is asked for others

// Makes the rows of one set of texts after another.
class RowMaker {
 public:
  RowMaker(const ScorerData& data, const SentenceSplitter& splitter, const std::string& separator)
      : data_(data), splitter_(splitter), separator_(separator) {}

  absl::StatusOr<std::vector<LabelledText>> Rows(absl::Span<const TextPair> texts, const std::string& name,
                                                 const std::function<bool()>& cancelled) {
    std::vector<LabelledText> rows;
    for (size_t i = 0; i < texts.size(); ++i) {
      if (cancelled()) return TenonError(Reason::kCancelled, "the job was cancelled");
      RETURN_IF_ERROR(Add(texts[i], absl::StrCat(name, " row ", i + 1), rows));
    }
    if (!rows.empty() || texts.empty()) return rows;
    return TenonError(Reason::kDatasetInvalid,
                      absl::StrCat(name, ": no text has a sentence with a word of its summary; nothing can be learnt"),
                      name);
  }

  std::string Notice() const {
    if (left_out_.empty()) return "";
    constexpr size_t kNamed = 5;
    const size_t named = std::min(left_out_.size(), kNamed);
    return absl::StrCat(left_out_.size(), " of ", data_.train.size() + data_.validation.size(),
                        " texts teach nothing, as none of their sentences has a word of the summary: ",
                        absl::StrJoin(absl::MakeConstSpan(left_out_).subspan(0, named), ", "),
                        named < left_out_.size() ? ", ..." : "");
  }

 private:
  absl::Status Add(const TextPair& text, const std::string& where, std::vector<LabelledText>& rows) {
    std::vector<std::string> sentences;
    for (const Sentence& one : splitter_.Split(text.input)) {
      if (sentences.size() == kMaxScoredSentences) break;
      sentences.push_back(text.input.substr(one.begin, one.end - one.begin));
    }
    const std::vector<size_t> chosen = OracleSentences(sentences, text.target, kOracleSentences);
    if (chosen.empty()) {
      left_out_.push_back(where);
      return absl::OkStatus();
    }
    for (size_t s = 0; s < sentences.size(); ++s) {
      const bool extract = std::binary_search(chosen.begin(), chosen.end(), s);
      rows.push_back(
          {ScorerRow(sentences, s, data_.scorer, separator_), {extract ? kExtractLabel : 1 - kExtractLabel}});
      bytes_ += rows.back().text.size();
      if (bytes_ > data_.max_row_bytes) return TooLarge(where);
    }
    return absl::OkStatus();
  }

  absl::Status TooLarge(const std::string& where) const {
    return TenonError(Reason::kTooLarge,
                      absl::StrCat(where, ": the sentences so far, each with ", data_.scorer.neighbours,
                                   " on either side, are more than ", data_.max_row_bytes,
                                   " bytes; take fewer neighbours, or fewer texts"),
                      "neighbours");
  }

  const ScorerData& data_;
  const SentenceSplitter& splitter_;
  const std::string& separator_;
  size_t bytes_ = 0;
  std::vector<std::string> left_out_;
};

}  // namespace

const std::vector<std::string>& ScorerLabels() {
  static const auto& labels = *new std::vector<std::string>{"other", "extract"};
  return labels;
}

std::string ScorerRow(const std::vector<std::string>& sentences, size_t s, const formats::SentenceScorer& scorer,
                      const std::string& separator) {
  const std::string part = separator.empty() ? " " : absl::StrCat(" ", separator, " ");
  const auto near = static_cast<size_t>(scorer.neighbours);
  const auto join = [&](size_t begin, size_t end) {
    return absl::StrJoin(absl::MakeConstSpan(sentences).subspan(begin, end - begin), " ");
  };
  std::string row = absl::StrCat(sentences[s], part, s + 1, " of ", sentences.size());
  if (near > 0) {
    absl::StrAppend(&row, part, join(s - std::min(s, near), s), part,
                    join(s + 1, std::min(sentences.size(), s + 1 + near)));
  }
  return row;
}

absl::StatusOr<ScorerTraining> MakeScorerTraining(const ScorerData& data, const SentenceSplitter& splitter,
                                                  const std::string& separator,
                                                  const std::function<bool()>& cancelled) {
  ScorerTraining made;
  made.data.labels = ScorerLabels();
  made.data.sentence_scorer = data.scorer;
  RowMaker maker(data, splitter, separator);
  ASSIGN_OR_RETURN(made.data.train, maker.Rows(data.train, "train", cancelled));
  ASSIGN_OR_RETURN(made.data.validation, maker.Rows(data.validation, "validation", cancelled));
  made.notice = maker.Notice();
  return made;
}

}  // namespace tenon::engine
