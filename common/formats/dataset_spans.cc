// Rows whose targets are places: words with tags, and questions with answers.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/bio.h"
#include "common/formats/dataset_builder.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"

namespace tenon::formats {
namespace {

std::string Short(const std::string& text) { return text.size() <= 40 ? text : ShortColumnName(text); }

// A list of JSON lines; other formats have none.
RowError CheckList(Column column, const Value& value) {
  if (value.kind == Value::Kind::kText) return {ColumnName(column), "is a list, which only JSON lines can hold"};
  if (value.kind != Value::Kind::kList) return WrongType(column, value, "a list");
  return {};
}

}  // namespace

RowError DatasetBuilder::AddTags(RawRow* row) {
  const Value &words = (*row)[words_column_], &tags = (*row)[Column::kTags];
  const std::string words_name = ColumnName(words_column_), tags_name = ColumnName(Column::kTags);
  if (const RowError error = CheckList(words_column_, words); !error.ok()) return error;
  if (const RowError error = CheckList(Column::kTags, tags); !error.ok()) return error;
  if (words.items.empty()) return {words_name, "is empty"};
  if (static_cast<int64_t>(words.items.size()) > limits_.max_words) {
    return {words_name,
            absl::StrCat("has ", words.items.size(), " words; at most ", limits_.max_words, " are allowed")};
  }
  if (words.items.size() != tags.items.size()) {
    return {tags_name, absl::StrCat("has ", tags.items.size(), " tags for ", words.items.size(), " words")};
  }
  TagsRow taken;
  for (size_t i = 0; i < words.items.size(); ++i) {
    const auto at = absl::StrCat("[", i, "] ");
    for (const auto& [name, item] :
         {std::make_pair(&words_name, &words.items[i]), std::make_pair(&tags_name, &tags.items[i])}) {
      if (!IsText(*item)) return {*name, absl::StrCat(at, "must be a string, not ", KindName(item->kind))};
      if (item->text.find_first_not_of(" \t\r\n\f\v") == std::string::npos)
        return {*name, absl::StrCat(at, "is empty")};
    }
    const std::string& tag = tags.items[i].text;
    if (static_cast<int64_t>(tag.size()) > limits_.max_label_bytes) {
      return {tags_name,
              absl::StrCat(at, "has ", tag.size(), " bytes; at most ", limits_.max_label_bytes, " are allowed")};
    }
    const std::string fault = TagFault(tag, i == 0 ? "" : taken.tags.back());
    if (!fault.empty()) return {tags_name, absl::StrCat(at, "\"", Short(tag), "\" ", fault)};
    taken.words.push_back(words.items[i].text);
    taken.tags.push_back(tag);
  }
  for (const std::string& tag : taken.tags) {
    if (labels_.insert(tag).second && static_cast<int64_t>(labels_.size()) > limits_.max_labels) {
      labels_.erase(tag);
      return {tags_name, absl::StrCat("makes more than ", limits_.max_labels, " different tags")};
    }
  }
  dataset_.tags.push_back(std::move(taken));
  return {};
}

RowError DatasetBuilder::TakeAnswer(const Value& text, const Value& start, AnswersRow* taken) const {
  const bool cell = start.kind == Value::Kind::kText;
  if (!IsText(text)) return WrongType(Column::kAnswers, text, "texts, each with its answer_start");
  const std::optional<int64_t> at =
      cell || start.kind == Value::Kind::kInteger ? CanonicalInteger(start.text) : std::nullopt;
  if (!at.has_value()) return WrongType(Column::kAnswerStart, start, "an integer");
  if (text.text.empty()) return {ColumnName(Column::kAnswers), "has an empty text; a context without answers has none"};
  const std::optional<size_t> begin = ByteOfCharacter(taken->context, *at);
  if (!begin.has_value() || taken->context.compare(*begin, text.text.size(), text.text) != 0) {
    return {ColumnName(Column::kAnswers),
            absl::StrCat("says that \"", Short(text.text), "\" stands at character ", *at, " of the context; ",
                         begin.has_value() ? "another text does" : "the context is shorter")};
  }
  taken->answers.push_back({text.text, static_cast<int64_t>(*begin)});
  return {};
}

// SQuAD's `answers` {"text": [...], "answer_start": [...]}, or one answer in `answer` and `answer_start`. Places count
// characters.
RowError DatasetBuilder::AddAnswers(RawRow* row) {
  AnswersRow taken;
  RowError error = TakeText(row, Column::kQuestion, &taken.question);
  if (error.ok()) error = TakeText(row, Column::kContext, &taken.context);
  if (!error.ok()) return error;
  const auto none = [](const Value& value) {
    return value.kind == Value::Kind::kMissing || value.kind == Value::Kind::kNull ||
           (value.kind == Value::Kind::kText && value.text.empty());
  };
  const Value& answers = (*row)[Column::kAnswers];
  const std::string name = ColumnName(Column::kAnswers);
  if (none(answers)) {
    const Value &answer = (*row)[Column::kAnswer], &start = (*row)[Column::kAnswerStart];
    if (!none(answer) || !none(start)) error = TakeAnswer(answer, start, &taken);
  } else if (answers.kind != Value::Kind::kObject) {
    error = WrongType(Column::kAnswers, answers, "an object of the lists text and answer_start");
  } else {
    static const Value& missing = *new Value();
    const auto list = [&](const char* key) -> const Value& {
      const auto found = answers.members.find(key);
      return found == answers.members.end() ? missing : found->second;
    };
    const Value &texts = list("text"), &starts = list("answer_start");
    if (texts.kind != Value::Kind::kList || starts.kind != Value::Kind::kList) {
      return {name, "must hold the lists text and answer_start"};
    }
    if (texts.items.size() != starts.items.size()) {
      return {name, absl::StrCat("has ", texts.items.size(), " texts for ", starts.items.size(), " places")};
    }
    if (static_cast<int64_t>(texts.items.size()) > limits_.max_answers) {
      return {name, absl::StrCat("has more than ", limits_.max_answers, " answers")};
    }
    for (size_t i = 0; i < texts.items.size() && error.ok(); ++i) {
      error = TakeAnswer(texts.items[i], starts.items[i], &taken);
    }
  }
  if (!error.ok()) return error;
  dataset_.answers.push_back(std::move(taken));
  return {};
}

}  // namespace tenon::formats
