#include "worker/engine/train/random.h"

#include <numeric>

namespace tenon::engine {
namespace {

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;

uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

uint64_t StreamKey(uint64_t seed, Stream stream, absl::Span<const uint64_t> indices) {
  uint64_t key = Mix(seed + kGolden);
  key = Mix((key ^ static_cast<uint64_t>(stream)) + kGolden);
  for (const uint64_t index : indices) key = Mix((key ^ index) + kGolden);
  return key;
}

uint64_t CounterRandom::Next() { return Mix(counter_ += kGolden); }

uint64_t CounterRandom::Below(uint64_t bound) {
  // Values from the incomplete last range would make small results likelier.
  const uint64_t skipped = (0 - bound) % bound;
  uint64_t value = Next();
  while (value < skipped) value = Next();
  return value % bound;
}

std::vector<int64_t> Permutation(int64_t n, CounterRandom& random) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  Shuffle(order, random);
  return order;
}

}  // namespace tenon::engine
