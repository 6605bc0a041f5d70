#include "worker/engine/evaluate/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tenon::engine {
namespace {

uint64_t NextRandom(uint64_t* state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

double Percentile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - std::floor(place)) * (sorted[above] - sorted[below]);
}

}  // namespace

MeanInterval BootstrapMean(const std::vector<double>& values, const BootstrapOptions& options) {
  MeanInterval interval;
  if (values.empty()) return interval;
  const double count = static_cast<double>(values.size());
  interval.mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  std::vector<double> means;
  uint64_t state = options.seed;
  for (int r = 0; r < std::max(options.resamples, 1); ++r) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const auto drawn = static_cast<unsigned __int128>(NextRandom(&state)) * values.size();
      sum += values[static_cast<size_t>(drawn >> 64)];
    }
    means.push_back(sum / count);
  }
  std::sort(means.begin(), means.end());
  interval.low = Percentile(means, (1 - options.confidence) / 2);
  interval.high = Percentile(means, (1 + options.confidence) / 2);
  return interval;
}

}  // namespace tenon::engine
