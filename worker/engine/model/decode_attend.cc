#include "worker/engine/model/decode_attend.h"

#include <algorithm>
#include <vector>

#include "worker/engine/model/attend_block.h"

namespace tenon::engine {
namespace {

using attend::Padded;
using attend::Unit;
using vec::Floats;
using vec::kLanes;

// One head of one line, its tokens in slots.
struct SlotUnit {
  const float* q;
  const float* keys;    // of slot 0 and this head
  const float* values;  // likewise
  int64_t stride;
  SlotLine line;
  const float* bias;  // for the first token of the line, or nullptr
  float* scores;      // [padded]
  float* out;
};

// kVectors: head_size / 16. The query and the sums stay in registers.
template <int64_t kVectors>
TENON_INLINE void AttendSlotUnit(const SlotUnit& unit) {
  Floats q[kVectors];
#pragma GCC unroll 8
  for (int64_t j = 0; j < kVectors; ++j) vec::Load(q[j], unit.q + j * kLanes);
  for (int64_t t = 0; t < unit.line.length; ++t) {
    const float* key = unit.keys + unit.line.slots[t] * unit.stride;
    Floats sum = {};
#pragma GCC unroll 8
    for (int64_t j = 0; j < kVectors; ++j) {
      Floats k;
      vec::Load(k, key + j * kLanes);
      sum += q[j] * k;
    }
    unit.scores[t] = vec::Sum(sum) + (unit.bias != nullptr ? unit.bias[t] : 0.0f);
  }
  const float factor = attend::Soften(unit.scores, unit.line.length, Padded(unit.line.length));
  Floats sums[kVectors] = {};
  for (int64_t t = 0; t < unit.line.length; ++t) {
    const float* value = unit.values + unit.line.slots[t] * unit.stride;
#pragma GCC unroll 8
    for (int64_t j = 0; j < kVectors; ++j) {
      Floats v;
      vec::Load(v, value + j * kLanes);
      sums[j] += unit.scores[t] * v;
    }
  }
#pragma GCC unroll 8
  for (int64_t j = 0; j < kVectors; ++j) vec::Store(unit.out + j * kLanes, sums[j] * factor);
}

TENON_KERNEL void RunSlotUnit(const SlotUnit& unit, int64_t vectors) {
  switch (vectors) {
    case 1:
      return AttendSlotUnit<1>(unit);
    case 2:
      return AttendSlotUnit<2>(unit);
    case 3:
      return AttendSlotUnit<3>(unit);
    case 4:
      return AttendSlotUnit<4>(unit);
    case 5:
      return AttendSlotUnit<5>(unit);
    case 6:
      return AttendSlotUnit<6>(unit);
    case 7:
      return AttendSlotUnit<7>(unit);
    default:
      return AttendSlotUnit<8>(unit);
  }
}
static_assert(attend::kMaxHeadSize == 8 * kLanes);

TENON_KERNEL void RunSourceUnit(const Unit& unit) { attend::AttendAll(unit); }

}  // namespace

void AttendSlots(const StepQueries& step, const TokenSlots& tokens, absl::Span<const SlotLine> lines,
                 const DistanceBias& bias, int64_t first, int64_t last, float* out, int64_t out_stride) {
  int64_t longest = 0;
  for (const SlotLine& line : lines) longest = std::max(longest, line.length);
  std::vector<float> scores(static_cast<size_t>(Padded(longest)));
  for (int64_t u = first; u < last; ++u) {
    const int64_t line = u / step.heads, head = u % step.heads, column = head * step.head_size;
    const SlotLine& own = lines[static_cast<size_t>(line)];
    const float* zero = bias.At(head);
    RunSlotUnit({.q = step.q.data + line * step.q.stride + column,
                 .keys = tokens.data + column,
                 .values = tokens.data + step.heads * step.head_size + column,
                 .stride = tokens.stride,
                 .line = own,
                 .bias = zero == nullptr ? nullptr : zero - (own.length - 1),
                 .scores = scores.data(),
                 .out = out + line * out_stride + column},
                step.head_size / kLanes);
  }
}

int64_t TurnedSize(int64_t keys, int64_t head_size) { return Padded(keys) * head_size; }

void TurnKeys(const float* k, int64_t stride, int64_t keys, int64_t head_size, float* to) {
  const int64_t padded = Padded(keys);
  for (int64_t d = 0; d < head_size; ++d) {
    for (int64_t key = 0; key < keys; ++key) to[d * padded + key] = k[key * stride + d];
    std::fill(to + d * padded + keys, to + (d + 1) * padded, 0.0f);
  }
}

void AttendSources(const StepQueries& step, absl::Span<const SourceRun> runs, int64_t first, int64_t last, float* out,
                   int64_t out_stride) {
  int64_t longest = 0;
  for (const SourceRun& run : runs) longest = std::max(longest, run.keys);
  std::vector<float> scores(static_cast<size_t>(attend::kQueries * Padded(longest)));
  const int64_t width = step.heads * step.head_size;
  for (int64_t u = first; u < last; ++u) {
    const SourceRun& run = runs[static_cast<size_t>(u / step.heads)];
    const int64_t head = u % step.heads, column = head * step.head_size;
    Unit unit{};
    unit.q = step.q.data + run.first_line * step.q.stride + column;
    unit.q_stride = step.q.stride;
    unit.queries = run.lines;
    unit.v = run.values + column;
    unit.v_stride = width;
    unit.keys = run.keys;
    unit.padded = Padded(run.keys);
    unit.head_size = step.head_size;
    unit.scale = 1;
    unit.out = out + run.first_line * out_stride + column;
    unit.out_stride = out_stride;
    // Only read from here on.
    unit.keys_turned = const_cast<float*>(run.keys_turned) + head * TurnedSize(run.keys, step.head_size);
    unit.scores = scores.data();
    RunSourceUnit(unit);
  }
}

}  // namespace tenon::engine
