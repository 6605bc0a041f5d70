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
constexpr char kPart[] = " [SEP] ";      // a special token of BERT's, also inside a text

absl::Status AddRows(absl::Span<const TextPair> texts, const std::string& name, const SentenceSplitter& splitter,
                     const formats::SentenceScorer& scorer, const std::function<bool()>& cancelled,
                     std::vector<LabelledText>& rows) {
  for (size_t i = 0; i < texts.size(); ++i) {
    if (cancelled()) return TenonError(Reason::kCancelled, "the job was cancelled");
    std::vector<std::string> sentences;
    for (const Sentence& one : splitter.Split(texts[i].input)) {
      sentences.push_back(texts[i].input.substr(one.begin, one.end - one.begin));
    }
    if (sentences.empty()) {
      const std::string where = absl::StrCat(name, " row ", i + 1);
      return TenonError(Reason::kDatasetInvalid, absl::StrCat(where, ": the text has no sentence"), where);
    }
    const std::vector<size_t> chosen = OracleSentences(sentences, texts[i].target, kOracleSentences);
    if (chosen.empty()) continue;
    std::vector<std::string> inputs = ScorerRows(sentences, scorer);
    for (size_t s = 0; s < inputs.size(); ++s) {
      const bool extract = std::binary_search(chosen.begin(), chosen.end(), s);
      rows.push_back({std::move(inputs[s]), {extract ? kExtractLabel : 1 - kExtractLabel}});
    }
  }
  if (!rows.empty() || texts.empty()) return absl::OkStatus();
  return TenonError(Reason::kDatasetInvalid,
                    absl::StrCat(name, ": no text has a sentence with a word of its summary; nothing can be learnt"),
                    name);
}

}  // namespace

const std::vector<std::string>& ScorerLabels() {
  static const auto& labels = *new std::vector<std::string>{"other", "extract"};
  return labels;
}

std::vector<std::string> ScorerRows(const std::vector<std::string>& sentences, const formats::SentenceScorer& scorer) {
  const auto near = static_cast<size_t>(scorer.neighbours);
  const auto join = [&](size_t begin, size_t end) {
    return absl::StrJoin(absl::MakeConstSpan(sentences).subspan(begin, end - begin), " ");
  };
  std::vector<std::string> rows;
  for (size_t s = 0; s < sentences.size(); ++s) {
    rows.push_back(absl::StrCat(sentences[s], kPart, s + 1, " of ", sentences.size()));
    if (near == 0) continue;
    absl::StrAppend(&rows.back(), kPart, join(s - std::min(s, near), s), kPart,
                    join(s + 1, std::min(sentences.size(), s + 1 + near)));
  }
  return rows;
}

absl::StatusOr<TrainData> ScorerTrainData(const ScorerData& data, const SentenceSplitter& splitter,
                                          const std::function<bool()>& cancelled) {
  TrainData made;
  made.labels = ScorerLabels();
  made.sentence_scorer = data.scorer;
  RETURN_IF_ERROR(AddRows(data.train, "train", splitter, data.scorer, cancelled, made.train));
  RETURN_IF_ERROR(AddRows(data.validation, "validation", splitter, data.scorer, cancelled, made.validation));
  return made;
}

}  // namespace tenon::engine
