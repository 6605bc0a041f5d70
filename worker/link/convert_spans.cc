#include "worker/link/convert_spans.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/link/convert_call.h"

namespace tenon::link {
namespace {

// Characters that begin before each byte of a text, and before its end.
std::vector<int32_t> CharactersBefore(const std::string& text) {
  std::vector<int32_t> counts;
  counts.reserve(text.size() + 1);
  int32_t count = 0;
  for (const char byte : text) {
    counts.push_back(count);
    count += (static_cast<unsigned char>(byte) & 0xC0) != 0x80 ? 1 : 0;
  }
  counts.push_back(count);
  return counts;
}

// A message of a place in a text, in characters.
template <typename Message>
void SetPlace(const engine::TextPlace& place, const std::vector<int32_t>& characters, Message* message) {
  message->set_begin(characters[place.begin]);
  message->set_end(characters[place.end]);
}

std::string TextOf(const std::string& text, const engine::TextPlace& place) {
  return text.substr(place.begin, place.end - place.begin);
}

void AddEntity(const runtime::TaggedRow& row, const formats::Entity& entity, const std::vector<int32_t>& characters,
               v1::TaggedText* tagged) {
  v1::TaggedEntity& out = *tagged->add_entities();
  const engine::TextPlace place{row.words[entity.begin].place.begin, row.words[entity.end - 1].place.end};
  out.set_type(entity.type);
  out.set_text(TextOf(row.text, place));
  double score = 0;
  for (int64_t word = entity.begin; word < entity.end; ++word) score += row.words[word].score;
  out.set_score(score / static_cast<double>(entity.end - entity.begin));
  SetPlace(place, characters, &out);
  out.set_word_begin(static_cast<int32_t>(entity.begin));
  out.set_word_end(static_cast<int32_t>(entity.end));
}

}  // namespace

absl::StatusOr<runtime::TagCall> ToTagCall(const internal::v1::InferenceRequest& request, absl::Time now) {
  runtime::TagCall call;
  call.base_digest = request.base_digest();
  call.adapter_digest = request.adapter().digest();
  call.texts.assign(request.texts().begin(), request.texts().end());
  for (const internal::v1::WordPlaces& of_text : request.words()) {
    const size_t index = call.words.size();
    std::vector<engine::TextPlace>& words = call.words.emplace_back();
    size_t from = 0;
    for (int i = 0; i < of_text.begins_size(); ++i) {
      const auto begin = static_cast<size_t>(of_text.begins(i));
      const size_t end = i < of_text.ends_size() ? static_cast<size_t>(of_text.ends(i)) : 0;
      if (index >= call.texts.size() || begin < from || end <= begin || end > call.texts[index].size()) {
        return TenonError(Reason::kInternal, absl::StrCat("word ", i, " of text ", index, " is not in it"));
      }
      words.push_back({begin, end});
      from = end;
    }
  }
  call.deadline = DeadlineOf(request, now);
  return call;
}

engine::AnswerOptions ToAnswerOptions(const v1::AnswerOptions& from) {
  engine::AnswerOptions to;
  if (from.max_answer_tokens() > 0) to.max_answer_tokens = from.max_answer_tokens();
  to.doc_stride = from.doc_stride();
  if (from.top_k() > 0) to.top_k = from.top_k();
  if (from.has_no_answer_threshold()) to.no_answer_threshold = from.no_answer_threshold();
  return to;
}

runtime::AnswerCall ToAnswerCall(const internal::v1::InferenceRequest& request, absl::Time now) {
  runtime::AnswerCall call;
  call.base_digest = request.base_digest();
  call.adapter_digest = request.adapter().digest();
  call.questions.assign(request.texts().begin(), request.texts().end());
  call.contexts.assign(request.text_pairs().begin(), request.text_pairs().end());
  call.contexts.resize(call.questions.size());
  call.options = ToAnswerOptions(request.answers());
  call.deadline = DeadlineOf(request, now);
  return call;
}

internal::v1::InferenceResult ToResult(uint64_t call_id, const absl::StatusOr<runtime::TagReply>& reply) {
  internal::v1::InferenceResult result = BeginResult(call_id, reply);
  if (!reply.ok()) return result;
  for (const runtime::TaggedRow& row : reply->rows) {
    internal::v1::RowResult& out = *result.add_rows();
    v1::TaggedText& tagged = *out.mutable_tagged();
    const std::vector<int32_t> characters = CharactersBefore(row.text);
    for (const runtime::TaggedWord& word : row.words) {
      v1::TaggedWord& one = *tagged.add_words();
      one.set_word(TextOf(row.text, word.place));
      one.set_tag(word.tag);
      one.set_score(word.score);
      SetPlace(word.place, characters, &one);
    }
    for (const formats::Entity& entity : row.entities) AddEntity(row, entity, characters, &tagged);
    tagged.set_input_tokens(row.input_tokens);
    tagged.set_windows(row.windows);
    out.set_input_tokens(row.input_tokens);
    result.set_input_tokens(result.input_tokens() + row.input_tokens);
  }
  return result;
}

internal::v1::InferenceResult ToResult(uint64_t call_id, const absl::StatusOr<runtime::AnswerReply>& reply) {
  internal::v1::InferenceResult result = BeginResult(call_id, reply);
  if (!reply.ok()) return result;
  for (const runtime::AnswerRow& row : reply->rows) {
    internal::v1::RowResult& out = *result.add_rows();
    v1::QuestionAnswer& answer = *out.mutable_answer();
    const std::vector<int32_t> characters = CharactersBefore(row.context);
    for (const engine::FoundAnswer& one : row.found.best) {
      v1::AnswerSpan& span = *answer.add_spans();
      span.set_text(TextOf(row.context, one.place));
      span.set_score(one.score);
      SetPlace(one.place, characters, &span);
    }
    answer.set_no_answer_score(row.found.no_answer_score);
    answer.set_no_answer(row.found.no_answer);
    if (!row.found.no_answer && !row.found.best.empty()) {
      const v1::AnswerSpan& best = answer.spans(0);
      answer.set_answer(best.text());
      answer.set_score(best.score());
      answer.set_begin(best.begin());
      answer.set_end(best.end());
    }
    answer.set_input_tokens(row.input_tokens);
    answer.set_windows(row.windows);
    out.set_input_tokens(row.input_tokens);
    result.set_input_tokens(result.input_tokens() + row.input_tokens);
  }
  return result;
}

absl::StatusOr<std::vector<engine::TaggedWords>> ToTaggedWords(const formats::Dataset& dataset,
                                                               const std::vector<std::string>& labels) {
  ASSIGN_OR_RETURN(std::vector<std::vector<int64_t>> indices, formats::LabelIndices(dataset, labels));
  std::vector<engine::TaggedWords> rows;
  for (size_t i = 0; i < dataset.tags.size(); ++i) rows.push_back({dataset.tags[i].words, std::move(indices[i])});
  return rows;
}

std::vector<engine::AnsweredQuestion> ToQuestions(const formats::Dataset& dataset) {
  std::vector<engine::AnsweredQuestion> rows;
  for (const formats::AnswersRow& row : dataset.answers) {
    engine::AnsweredQuestion& to = rows.emplace_back();
    to.question = row.question;
    to.context = row.context;
    for (const auto& answer : row.answers) to.answers.push_back({answer.text, static_cast<size_t>(answer.begin)});
  }
  return rows;
}

}  // namespace tenon::link
