#include "server/dispatch/charge.h"

#include <algorithm>

namespace tenon::server {
namespace {

// Most lines that a worker runs for one text (worker/engine/generate/plan.h); more are refused there.
constexpr int64_t kMaxLines = 64;

bool Writes(internal::v1::InferenceKind kind) {
  return kind == internal::v1::INFERENCE_KIND_GENERATE || kind == internal::v1::INFERENCE_KIND_SUMMARIZE;
}

int64_t ReplyCharge(const v1::GenerationConfig& generation) {
  int64_t asked = kDefaultReplyCharge;
  if (generation.has_max_new_tokens()) {
    asked = generation.max_new_tokens();
  } else if (generation.has_max_length()) {
    asked = generation.max_length();
  }
  const int64_t lines = std::max(generation.num_beams(), generation.num_return_sequences());
  return std::clamp<int64_t>(asked, 1, kMaxReplyCharge) * std::clamp<int64_t>(lines, 1, kMaxLines);
}

}  // namespace

int64_t ChargeOf(const InferenceCall& call) {
  const size_t around = call.frame.has_value() ? call.frame->before().size() + call.frame->after().size() : 0;
  int64_t tokens = 0;
  for (size_t i = 0; i < call.texts.size(); ++i) {
    const size_t pair = i < call.text_pairs.size() ? call.text_pairs[i].size() : 0;
    tokens += std::max<int64_t>(1, static_cast<int64_t>(call.texts[i].size() + pair + around) / 4);
  }
  if (Writes(call.kind)) tokens += ReplyCharge(call.generation) * static_cast<int64_t>(call.texts.size());
  return std::max<int64_t>(1, tokens);
}

int64_t TokensOf(const InferenceCall& call, const internal::v1::InferenceResult& result) {
  // The worker counts what it gives; a beam search wrote the same length for every beam, kept or not.
  const int64_t beams = std::clamp<int64_t>(call.generation.num_beams(), 1, kMaxLines);
  const int64_t kept = std::clamp<int64_t>(call.generation.num_return_sequences(), 1, beams);
  return result.input_tokens() + result.output_tokens() * beams / kept;
}

}  // namespace tenon::server
