#include "worker/engine/model/attend.h"

#include <algorithm>
#include <vector>

#include "worker/engine/model/attend_block.h"

namespace tenon::engine {
namespace {

using attend::kQueries;
using attend::Unit;
using vec::kLanes;

TENON_KERNEL void AttendUnit(const Unit& unit) {
  for (int64_t key = 0; key < unit.keys; ++key) {
    const float* from = unit.k + key * unit.k_stride;
    for (int64_t d = 0; d < unit.head_size; ++d) unit.keys_turned[d * unit.padded + key] = from[d];
  }
  for (int64_t d = 0; d < unit.head_size; ++d) {
    std::fill(unit.keys_turned + d * unit.padded + unit.keys, unit.keys_turned + (d + 1) * unit.padded, 0.0f);
  }
  attend::AttendAll(unit);
}

}  // namespace

bool CanAttend(int64_t head_size) {
  return head_size % kLanes == 0 && head_size > 0 && head_size <= attend::kMaxHeadSize;
}

void Attend(const AttentionInput& input, absl::Span<const AttentionSpan> spans, int64_t first, int64_t last, float* out,
            int64_t out_stride) {
  int64_t longest = 0;
  for (const AttentionSpan& span : spans) longest = std::max(longest, span.keys);
  longest = attend::Padded(longest);
  std::vector<float> keys_turned(static_cast<size_t>(input.head_size * longest));
  std::vector<float> scores(static_cast<size_t>(kQueries * longest));
  for (int64_t u = first; u < last; ++u) {
    const AttentionSpan& span = spans[static_cast<size_t>(u / input.heads)];
    const int64_t column = u % input.heads * input.head_size;
    AttendUnit({.q = input.q.data + span.first_query * input.q.stride + column,
                .k = input.k.data + span.first_key * input.k.stride + column,
                .v = input.v.data + span.first_key * input.v.stride + column,
                .q_stride = input.q.stride,
                .k_stride = input.k.stride,
                .v_stride = input.v.stride,
                .queries = span.queries,
                .keys = span.keys,
                .head_size = input.head_size,
                .scale = input.scale,
                .bias = input.bias.At(u % input.heads),
                .out = out + span.first_query * out_stride + column,
                .out_stride = out_stride,
                .keys_turned = keys_turned.data(),
                .scores = scores.data(),
                .padded = attend::Padded(span.keys)});
  }
}

}  // namespace tenon::engine
