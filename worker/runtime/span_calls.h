// Calls for a head on every token, as the runtime is asked for them: each is one of the encoder's calls, whose rows are
// windows of its texts and whose logits become tags or answers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/engine/spans/answers.h"
#include "worker/engine/spans/tag_windows.h"
#include "worker/engine/spans/tags.h"
#include "worker/runtime/runtime.h"

namespace tenon::runtime {

struct TagCall {
  std::string base_digest;
  std::string adapter_digest;  // empty: the base alone
  std::vector<std::string> texts;
  std::vector<std::vector<engine::TextPlace>> words;  // none, or each text's; else engine::WordsOf finds them
  absl::Time deadline = absl::InfiniteFuture();
};

struct TaggedWord {
  engine::TextPlace place;
  std::string tag;
  double score = 0;
};
struct TaggedRow {
  std::string text;
  std::vector<TaggedWord> words;
  std::vector<formats::Entity> entities;
  int32_t input_tokens = 0, windows = 0;
};
struct TagReply {
  std::vector<TaggedRow> rows;
  absl::Duration queue_time, compute_time;
};

struct AnswerCall {
  std::string base_digest;
  std::string adapter_digest;  // empty: the base alone
  std::vector<std::string> questions, contexts;
  engine::AnswerOptions options;
  absl::Time deadline = absl::InfiniteFuture();
};

struct AnswerRow {
  std::string context;
  engine::FoundAnswers found;
  int32_t input_tokens = 0, windows = 0;
};
struct AnswerReply {
  std::vector<AnswerRow> rows;
  absl::Duration queue_time, compute_time;
};

// Each as a call to Runtime::Submit, and what to make of its answer, once.
struct TagRows {
  InferenceCall call;
  std::function<absl::StatusOr<TagReply>(absl::StatusOr<InferenceReply>)> finish;
};
struct AnswerRows {
  InferenceCall call;
  std::function<absl::StatusOr<AnswerReply>(absl::StatusOr<InferenceReply>)> finish;
};
TagRows Prepare(TagCall call);
AnswerRows Prepare(AnswerCall call);

}  // namespace tenon::runtime
