#include "worker/runtime/span_calls.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/bio.h"
#include "common/formats/status.h"
#include "worker/engine/spans/words.h"

namespace tenon::runtime {
namespace {

absl::StatusOr<const engine::PlaceTokenizer*> PlacesOf(const engine::Base& base) {
  const engine::PlaceTokenizer* places = base.tokenizer().places();
  if (places != nullptr) return places;
  return TenonError(Reason::kUnsupported, "the base's tokenizer does not say what its tokens stand for", "base");
}

// A text's windows among all rows, in order.
template <typename Window>
void AddWindows(const std::vector<Window>& windows, size_t text, EncodedRows* rows) {
  for (const Window& window : windows) {
    rows->encodings.push_back(window.encoding);
    rows->texts.push_back(text);
  }
}

// Values of the next `count` rows.
std::vector<const std::vector<float>*> Take(const InferenceReply& reply, size_t count, size_t* next,
                                            int32_t* input_tokens) {
  std::vector<const std::vector<float>*> rows;
  for (size_t i = 0; i < count; ++i) {
    const InferenceRow& row = reply.rows[(*next)++];
    rows.push_back(&row.values);
    *input_tokens += row.input_tokens;
  }
  return rows;
}

// What a call keeps between its rows and its answer.
struct TagState {
  TagCall in;
  std::vector<std::vector<engine::TagWindow>> windows;  // of each text

  absl::StatusOr<EncodedRows> Encode(const engine::Base& base, int64_t max_tokens) {
    ASSIGN_OR_RETURN(const engine::PlaceTokenizer* tokenizer, PlacesOf(base));
    EncodedRows rows;
    for (size_t i = 0; i < in.texts.size(); ++i) {
      if (in.words.size() == i) {
        ASSIGN_OR_RETURN(std::vector<engine::TextPlace> found, engine::WordsOf(in.texts[i]));
        in.words.push_back(std::move(found));
      }
      std::vector<std::string> words;
      for (const engine::TextPlace& place : in.words[i]) {
        words.push_back(in.texts[i].substr(place.begin, place.end - place.begin));
      }
      windows.push_back(engine::CutWords(*tokenizer, words, max_tokens));
      AddWindows(windows.back(), i, &rows);
    }
    return rows;
  }

  TagReply Finish(const InferenceReply& reply) {
    TagReply made{.queue_time = reply.queue_time, .compute_time = reply.compute_time};
    const std::vector<std::string>& labels = reply.adapter.labels;
    const engine::Crf* crf = reply.crf.has_value() ? &*reply.crf : nullptr;
    size_t next = 0;
    for (size_t i = 0; i < in.texts.size(); ++i) {
      TaggedRow& row = made.rows.emplace_back();
      row.windows = static_cast<int32_t>(windows[i].size());
      const auto values = Take(reply, windows[i].size(), &next, &row.input_tokens);
      const auto logits = engine::WordLogits(windows[i], in.words[i].size(), values, labels.size());
      const std::vector<engine::TagChoice> choices = engine::ChooseTags(logits, crf);
      const std::vector<std::string> tags = engine::TagNames(choices, labels);
      for (size_t word = 0; word < tags.size(); ++word) {
        row.words.push_back({in.words[i][word], tags[word], choices[word].score});
      }
      row.entities = formats::Entities(tags);
      row.text = std::move(in.texts[i]);
    }
    return made;
  }
};

struct AnswerState {
  AnswerCall in;
  std::vector<engine::AnswerWindows> windows;  // of each question

  absl::StatusOr<EncodedRows> Encode(const engine::Base& base, int64_t max_tokens) {
    ASSIGN_OR_RETURN(const engine::PlaceTokenizer* tokenizer, PlacesOf(base));
    EncodedRows rows;
    for (size_t i = 0; i < in.questions.size(); ++i) {
      ASSIGN_OR_RETURN(engine::AnswerWindows made,
                       engine::CutContext(*tokenizer, in.questions[i], in.contexts[i], max_tokens,
                                          in.options.doc_stride, absl::StrCat("questions[", i, "].question")));
      AddWindows(made.windows, i, &rows);
      windows.push_back(std::move(made));
    }
    return rows;
  }

  AnswerReply Finish(const InferenceReply& reply) {
    AnswerReply made{.queue_time = reply.queue_time, .compute_time = reply.compute_time};
    size_t next = 0;
    for (size_t i = 0; i < windows.size(); ++i) {
      AnswerRow& row = made.rows.emplace_back();
      row.windows = static_cast<int32_t>(windows[i].windows.size());
      const auto values = Take(reply, windows[i].windows.size(), &next, &row.input_tokens);
      row.found = engine::FindAnswers(windows[i], values, in.options);
      row.context = std::move(in.contexts[i]);
    }
    return made;
  }
};

template <typename Rows, typename State>
Rows Joined(InferenceCall call, std::shared_ptr<State> state) {
  call.base_digest = state->in.base_digest;
  call.adapter_digest = state->in.adapter_digest;
  call.deadline = state->in.deadline;
  call.output = engine::Output::kTokenLogits;
  call.encode = [state](const engine::Base& base, int64_t max_tokens) { return state->Encode(base, max_tokens); };
  using Reply = decltype(state->Finish(InferenceReply()));
  return {std::move(call), [state](absl::StatusOr<InferenceReply> reply) -> absl::StatusOr<Reply> {
            if (!reply.ok()) return reply.status();
            return state->Finish(*reply);
          }};
}

}  // namespace

TagRows Prepare(TagCall in) {
  InferenceCall call;
  call.texts = in.texts;  // by which it is charged
  return Joined<TagRows>(std::move(call), std::make_shared<TagState>(TagState{std::move(in), {}}));
}

AnswerRows Prepare(AnswerCall in) {
  InferenceCall call;
  call.texts = in.questions;
  call.text_pairs = in.contexts;
  return Joined<AnswerRows>(std::move(call), std::make_shared<AnswerState>(AnswerState{std::move(in), {}}));
}

}  // namespace tenon::runtime
