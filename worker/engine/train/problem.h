// What the rows of a classifier's run are to give. No torch.
#pragma once

#include <cstdint>
#include <vector>

namespace tenon::engine {

// transformers' problem_type: one class a row, any number of them, or numbers.
enum class Problem { kSingleLabel, kMultiLabel, kRegression };

struct Targets {
  Problem problem = Problem::kSingleLabel;
  std::vector<std::vector<int64_t>> labels;  // indices, of each row
  std::vector<std::vector<float>> values;    // of kRegression in place of them, [R][outputs]
};

}  // namespace tenon::engine
