// The attention of a decoding step, on the CPU: one query a line against what is kept of its earlier tokens, and
// against its source. Free of torch and of threads.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "worker/engine/model/attend.h"

namespace tenon::engine {

// Keys and values of tokens wherever they lie, so that lines may share them: a slot has a token's keys, then its
// values, [2 * heads * head_size] floats.
struct TokenSlots {
  const float* data = nullptr;
  int64_t stride = 0;  // floats from slot to slot
};

// One line: the slots of its tokens in order, the one that asks included; length > 0.
struct SlotLine {
  const int32_t* slots = nullptr;
  int64_t length = 0;
};

// Queries of a step, [lines, heads * head_size] by lines of `q.stride`.
struct StepQueries {
  AttentionLines q;
  int64_t heads = 0, head_size = 0;  // CanAttend(head_size)
};

// Writes softmax(q k^T + bias) v of units [first, last), where unit u is head u % heads of line u / heads, into out by
// lines of `out_stride`. `bias.zero` stands for the token that asks.
void AttendSlots(const StepQueries& step, const TokenSlots& tokens, absl::Span<const SlotLine> lines,
                 const DistanceBias& bias, int64_t first, int64_t last, float* out, int64_t out_stride);

// Floats that TurnKeys writes for one head: keys are padded to whole vectors.
int64_t TurnedSize(int64_t keys, int64_t head_size);
// Keys of one head [keys, head_size], by lines of `stride`, transposed into `to`.
void TurnKeys(const float* k, int64_t stride, int64_t keys, int64_t head_size, float* to);

// A source that neighbouring lines read: its keys are turned once, when it joins.
struct SourceRun {
  const float* keys_turned = nullptr;  // [heads, TurnedSize]
  const float* values = nullptr;       // [keys, heads * head_size]
  int64_t keys = 0;                    // > 0
  int64_t first_line = 0, lines = 0;
};

// Writes softmax(q k^T) v of units [first, last), where unit u is head u % heads of all lines of run u / heads.
void AttendSources(const StepQueries& step, absl::Span<const SourceRun> runs, int64_t first, int64_t last, float* out,
                   int64_t out_stride);

}  // namespace tenon::engine
