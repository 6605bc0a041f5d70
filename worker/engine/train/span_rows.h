// A run's rows for a head on every token: words with tags, or windows of contexts with answers. Free of torch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/spans/answers.h"
#include "worker/engine/train/rows.h"

namespace tenon::engine {

struct SpanData {
  formats::HeadKind kind = formats::HeadKind::kTokens;
  // Of tags each label is that of the token at its place; of answers the labels are the row places of its ends.
  TokenRows train, validation;
  std::vector<std::string> labels;
  bool crf = false;

  // Of answers: the validation questions with what their contexts' windows, which are the validation rows in this
  // order, are made of.
  std::vector<AnsweredQuestion> questions;
  std::vector<AnswerWindows> windows;
  AnswerOptions search;

  bool has_second_types() const { return train.has_second_types() || validation.has_second_types(); }
};

// Tokenizes every row; `data.head()` says which rows. The first of a question's answers is trained for, as in
// transformers' examples. DATASET_INVALID, LABEL_UNKNOWN and TEXT_TOO_LARGE name row and key: tags that are not as many
// as the words, or not there; words that are more than `max_tokens` tokens, or none; a question that leaves no room; an
// answer that is not in its context. CANCELLED once `cancelled` says so.
absl::StatusOr<std::shared_ptr<const SpanData>> TokenizeSpans(const TrainData& data, const TrainOptions& options,
                                                              const Tokenizer& tokenizer, int64_t max_tokens,
                                                              const std::function<bool()>& cancelled);

}  // namespace tenon::engine
