#include "worker/engine/model/decode_attend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

namespace tenon::engine {
namespace {

std::vector<float> Random(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// The definition for one query and head, in double; key i and value i are at these pointers.
std::vector<double> Expected(const float* q, const std::vector<const float*>& keys,
                             const std::vector<const float*>& values, int64_t size, const float* bias) {
  std::vector<double> scores, mixed(static_cast<size_t>(size));
  for (size_t i = 0; i < keys.size(); ++i) {
    scores.push_back(bias == nullptr ? 0.0 : bias[i]);
    for (int64_t d = 0; d < size; ++d) scores.back() += static_cast<double>(q[d]) * keys[i][d];
  }
  const double top = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    const double weight = std::exp(scores[i] - top);
    sum += weight;
    for (int64_t d = 0; d < size; ++d) mixed[static_cast<size_t>(d)] += weight * values[i][d];
  }
  for (double& value : mixed) value /= sum;
  return mixed;
}

TEST(AttendSlots, LinesReadTheirTokensWhereverTheyLie) {
  for (const int64_t size : {16, 32, 48, 64, 80, 96, 112, 128}) {
    constexpr int64_t kHeads = 3, kSlots = 90;
    const int64_t width = kHeads * size, reach = 60, stride = reach + 1;
    const std::vector<float> pool = Random(static_cast<size_t>(kSlots * 2 * width), 1);
    const std::vector<float> table = Random(static_cast<size_t>(kHeads * stride), 2);
    const std::vector<int64_t> lengths = {1, 2, 15, 16, 17, 33, 61};
    const std::vector<float> q = Random(lengths.size() * static_cast<size_t>(width), 3);
    std::mt19937 random(4);
    std::vector<std::vector<int32_t>> slots;
    std::vector<SlotLine> lines;
    for (const int64_t length : lengths) {
      std::vector<int32_t> own(kSlots);
      std::iota(own.begin(), own.end(), 0);
      std::shuffle(own.begin(), own.end(), random);
      own.resize(static_cast<size_t>(length));
      slots.push_back(std::move(own));
    }
    for (const auto& own : slots) lines.push_back({own.data(), static_cast<int64_t>(own.size())});
    const StepQueries step{{q.data(), width}, kHeads, size};
    const DistanceBias bias{table.data() + reach, stride};
    std::vector<float> out(q.size(), NAN);
    const int64_t units = static_cast<int64_t>(lines.size()) * kHeads;
    // In two parts, as threads take them.
    AttendSlots(step, {pool.data(), 2 * width}, lines, bias, 0, 5, out.data(), width);
    AttendSlots(step, {pool.data(), 2 * width}, lines, bias, 5, units, out.data(), width);
    for (size_t line = 0; line < lines.size(); ++line) {
      for (int64_t head = 0; head < kHeads; ++head) {
        std::vector<const float*> keys, values;
        for (const int32_t slot : slots[line]) {
          keys.push_back(pool.data() + slot * 2 * width + head * size);
          values.push_back(keys.back() + width);
        }
        const int64_t at = static_cast<int64_t>(line) * width + head * size;
        const std::vector<double> expected =
            Expected(q.data() + at, keys, values, size, bias.At(head) - (lines[line].length - 1));
        for (int64_t d = 0; d < size; ++d) {
          EXPECT_NEAR(out[static_cast<size_t>(at + d)], expected[static_cast<size_t>(d)], 1e-5)
              << "line " << line << " head " << head;
        }
      }
    }
  }
}

TEST(AttendSources, LinesOfARunReadTheirSource) {
  constexpr int64_t kHeads = 2, kSize = 32, kWidth = kHeads * kSize;
  // 6 lines: a block of four and two singles in the first run; then a line alone.
  const std::vector<int64_t> lengths = {37, 1, 16}, lines = {6, 1, 4};
  std::vector<std::vector<float>> keys, values, turned;
  std::vector<SourceRun> runs;
  int64_t total = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    keys.push_back(Random(static_cast<size_t>(lengths[i] * kWidth), static_cast<uint32_t>(10 + i)));
    values.push_back(Random(static_cast<size_t>(lengths[i] * kWidth), static_cast<uint32_t>(20 + i)));
    turned.emplace_back(static_cast<size_t>(kHeads * TurnedSize(lengths[i], kSize)), NAN);
    for (int64_t head = 0; head < kHeads; ++head) {
      TurnKeys(keys[i].data() + head * kSize, kWidth, lengths[i], kSize,
               turned[i].data() + head * TurnedSize(lengths[i], kSize));
    }
    total += lines[i];
  }
  int64_t first = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    runs.push_back({turned[i].data(), values[i].data(), lengths[i], first, lines[i]});
    first += lines[i];
  }
  const std::vector<float> q = Random(static_cast<size_t>(total * kWidth), 30);
  std::vector<float> out(q.size(), NAN);
  AttendSources({{q.data(), kWidth}, kHeads, kSize}, runs, 0, 3 * kHeads, out.data(), kWidth);
  for (size_t i = 0; i < runs.size(); ++i) {
    for (int64_t line = runs[i].first_line; line < runs[i].first_line + runs[i].lines; ++line) {
      for (int64_t head = 0; head < kHeads; ++head) {
        std::vector<const float*> own_keys, own_values;
        for (int64_t t = 0; t < lengths[i]; ++t) {
          own_keys.push_back(keys[i].data() + t * kWidth + head * kSize);
          own_values.push_back(values[i].data() + t * kWidth + head * kSize);
        }
        const int64_t at = line * kWidth + head * kSize;
        const std::vector<double> expected = Expected(q.data() + at, own_keys, own_values, kSize, nullptr);
        for (int64_t d = 0; d < kSize; ++d) {
          EXPECT_NEAR(out[static_cast<size_t>(at + d)], expected[static_cast<size_t>(d)], 1e-5) << "line " << line;
        }
      }
    }
  }
}

}  // namespace
}  // namespace tenon::engine
