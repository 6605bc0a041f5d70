// Random streams of one job or request, each its own function of its seed. No torch, no state to save: a stream is
// named by what it is for and where the run stands, so drawing from one never moves another and a resumed run draws
// what an uninterrupted one would.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace tenon::engine {

enum class Stream : uint64_t {
  kInit = 1,      // new weights
  kPlan = 2,      // order of the rows; index: epoch
  kDropout = 3,   // masks; index: micro-batch of the run, segment of the network, call in it
  kFeatures = 4,  // which rows the linear probe of a comparison sees
  kSampling = 5,  // tokens of a reply; index: sequence of the request, then token of the sequence
};

// A 64-bit key for (seed, stream, indices): distinct inputs give unrelated keys.
uint64_t StreamKey(uint64_t seed, Stream stream, absl::Span<const uint64_t> indices);

// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): a hashed counter.
class CounterRandom {
 public:
  explicit CounterRandom(uint64_t key) : counter_(key) {}
  uint64_t Next();
  // Uniform in [0, bound), without bias; bound > 0.
  uint64_t Below(uint64_t bound);

 private:
  uint64_t counter_;
};

// 0 .. n-1 in random order.
std::vector<int64_t> Permutation(int64_t n, CounterRandom& random);
// The same values in random order.
template <typename T>
void Shuffle(std::vector<T>& values, CounterRandom& random) {
  for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.Below(i)]);
}

}  // namespace tenon::engine
