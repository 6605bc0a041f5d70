// How sure a mean over test rows is: the percentile bootstrap (B. Efron, 1979).
#pragma once

#include <cstdint>
#include <vector>

namespace tenon::engine {

struct BootstrapOptions {
  int resamples = 1000;
  double confidence = 0.95;
  // The same seed, values and options give the same interval on every machine. The generator is SplitMix64 (G. Steele
  // et al., 2014); a row is drawn as the high word of its number times the number of rows.
  uint64_t seed = 0;
};

struct MeanInterval {
  double mean = 0;  // of the values themselves, not of resamples
  double low = 0, high = 0;
};

// Percentiles are interpolated as numpy's are. Zeros for no values.
MeanInterval BootstrapMean(const std::vector<double>& values, const BootstrapOptions& options);

}  // namespace tenon::engine
