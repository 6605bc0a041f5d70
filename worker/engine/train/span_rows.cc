#include "worker/engine/train/span_rows.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/spans/tag_windows.h"

namespace tenon::engine {
namespace {

absl::Status Cancelled() { return TenonError(Reason::kCancelled, "the job was cancelled"); }

void AddRow(Encoding encoding, std::vector<int64_t> labels, std::vector<int64_t> places, TokenRows* rows) {
  rows->ids.push_back(std::move(encoding.ids));
  rows->second_types.push_back(encoding.second_type);
  rows->labels.push_back(std::move(labels));
  rows->values.emplace_back();
  rows->places.push_back(std::move(places));
}

// Rows are named by their set, as `train row 3`.
class WordRows {
 public:
  WordRows(const PlaceTokenizer& tokenizer, int64_t max_tokens, int64_t labels)
      : tokenizer_(tokenizer), max_tokens_(max_tokens), labels_(labels) {}

  absl::Status Add(const TaggedWords& row, const std::string& where, TokenRows* rows) const {
    const std::string words_key = where + ", column words", tags_key = where + ", column tags";
    if (row.words.size() != row.tags.size()) {
      return TenonError(Reason::kDatasetInvalid,
                        absl::StrCat(tags_key, ": has ", row.tags.size(), " tags for ", row.words.size(), " words"),
                        tags_key);
    }
    for (const int64_t tag : row.tags) {
      if (tag >= 0 && tag < labels_) continue;
      return TenonError(Reason::kLabelUnknown, tags_key + ": has a tag outside the set", tags_key);
    }
    std::vector<TagWindow> windows = CutWords(tokenizer_, row.words, kWhole);
    if (windows.empty()) return TenonError(Reason::kDatasetInvalid, words_key + ": is empty", words_key);
    TagWindow& whole = windows.front();
    const auto tokens = static_cast<int64_t>(whole.encoding.ids.size());
    if (tokens > max_tokens_) {
      return TenonError(Reason::kDatasetInvalid,
                        absl::StrCat(words_key, ": has ", tokens, " tokens; the model reads ", max_tokens_,
                                     ". Cut the row between sentences"),
                        words_key);
    }
    std::vector<int64_t> tags, places;
    for (size_t word = 0; word < row.words.size(); ++word) {
      if (whole.word_tokens[word] < 0) continue;
      tags.push_back(row.tags[word]);
      places.push_back(whole.word_tokens[word]);
    }
    if (tags.empty()) {
      return TenonError(Reason::kDatasetInvalid, words_key + ": has no token of the base's vocabulary", words_key);
    }
    AddRow(std::move(whole.encoding), std::move(tags), std::move(places), rows);
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kWhole = int64_t{1} << 40;

  const PlaceTokenizer& tokenizer_;
  const int64_t max_tokens_, labels_;
};

absl::StatusOr<std::optional<TextPlace>> FirstAnswer(const AnsweredQuestion& row, const std::string& where) {
  for (const AnsweredQuestion::Answer& answer : row.answers) {
    if (!answer.text.empty() && answer.begin <= row.context.size() &&
        row.context.compare(answer.begin, answer.text.size(), answer.text) == 0) {
      continue;
    }
    const std::string key = where + ", column answers";
    return TenonError(Reason::kDatasetInvalid, key + ": an answer is not in the context at its place", key);
  }
  if (row.answers.empty()) return std::optional<TextPlace>();
  const AnsweredQuestion::Answer& first = row.answers.front();
  return std::optional<TextPlace>({first.begin, first.begin + first.text.size()});
}

absl::StatusOr<AnswerWindows> AddQuestion(const PlaceTokenizer& tokenizer, const AnsweredQuestion& row,
                                          const std::string& where, int64_t max_tokens, int64_t doc_stride,
                                          TokenRows* rows) {
  ASSIGN_OR_RETURN(const std::optional<TextPlace> answer, FirstAnswer(row, where));
  ASSIGN_OR_RETURN(AnswerWindows made, CutContext(tokenizer, row.question, row.context, max_tokens, doc_stride,
                                                  where + ", column question"));
  for (size_t window = 0; window < made.windows.size(); ++window) {
    const auto [start, end] = made.Target(window, answer);
    AddRow(made.windows[window].encoding, {start, end}, {}, rows);
  }
  return made;
}

absl::Status AddWords(const TrainData& data, const PlaceTokenizer& tokenizer, int64_t max_tokens,
                      const std::function<bool()>& cancelled, SpanData* made) {
  const WordRows word_rows(tokenizer, max_tokens, static_cast<int64_t>(data.labels.size()));
  const auto add = [&](const std::vector<TaggedWords>& rows, const char* name, TokenRows* to) -> absl::Status {
    for (size_t i = 0; i < rows.size(); ++i) {
      if (cancelled()) return Cancelled();
      RETURN_IF_ERROR(word_rows.Add(rows[i], absl::StrCat(name, " row ", i + 1), to));
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(add(data.train_words, "train", &made->train));
  return add(data.validation_words, "validation", &made->validation);
}

absl::Status AddQuestions(const TrainData& data, const TrainOptions& options, const PlaceTokenizer& tokenizer,
                          int64_t max_tokens, const std::function<bool()>& cancelled, SpanData* made) {
  for (size_t i = 0; i < data.train_questions.size(); ++i) {
    if (cancelled()) return Cancelled();
    RETURN_IF_ERROR(AddQuestion(tokenizer, data.train_questions[i], absl::StrCat("train row ", i + 1), max_tokens,
                                options.doc_stride, &made->train)
                        .status());
  }
  for (size_t i = 0; i < data.validation_questions.size(); ++i) {
    if (cancelled()) return Cancelled();
    ASSIGN_OR_RETURN(AnswerWindows windows,
                     AddQuestion(tokenizer, data.validation_questions[i], absl::StrCat("validation row ", i + 1),
                                 max_tokens, options.doc_stride, &made->validation));
    made->windows.push_back(std::move(windows));
  }
  made->questions = data.validation_questions;
  const auto unanswered = [](const AnsweredQuestion& row) { return row.answers.empty(); };
  if (std::any_of(made->questions.begin(), made->questions.end(), unanswered)) made->search.no_answer_threshold = 0;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const SpanData>> TokenizeSpans(const TrainData& data, const TrainOptions& options,
                                                              const Tokenizer& tokenizer, int64_t max_tokens,
                                                              const std::function<bool()>& cancelled) {
  const PlaceTokenizer* places = tokenizer.places();
  if (places == nullptr) {
    return TenonError(Reason::kUnsupported, "the base's tokenizer does not say what its tokens stand for",
                      "tokenizer.json");
  }
  auto made = std::make_shared<SpanData>();
  made->kind = data.head();
  made->labels = data.labels;
  made->crf = options.crf;
  if (made->kind == formats::HeadKind::kAnswers) {
    RETURN_IF_ERROR(AddQuestions(data, options, *places, max_tokens, cancelled, made.get()));
  } else {
    if (data.labels.size() < 2) {
      return TenonError(Reason::kDatasetInvalid,
                        absl::StrCat("the data has ", data.labels.size(), " tags; at least 2 are needed"), "tags");
    }
    RETURN_IF_ERROR(AddWords(data, *places, max_tokens, cancelled, made.get()));
  }
  return std::shared_ptr<const SpanData>(std::move(made));
}

}  // namespace tenon::engine
