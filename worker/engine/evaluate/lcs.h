// Longest common subsequences, 64 cells of the table at a time.
//
// A column of the table is kept as one bit a row: whether the length grows there (M. Crochemore et al., A fast and
// practical bit-vector algorithm for the longest common subsequence problem, 2001; H. Hyyrö, Bit-parallel LCS-length
// computation revisited, 2004).
#pragma once

#include <cstdint>
#include <vector>

namespace tenon::engine {

using TokenIds = std::vector<int32_t>;

// Length of a longest common subsequence of `a` and `b`. Ids are from 0 on.
int64_t LcsLength(const TokenIds& a, const TokenIds& b);

// Marks in `used` [reference.size()] the positions of `reference` that are in the longest common subsequence with
// `candidate` that rouge_score finds: from the ends backwards, and where both ways are open one step back in the
// reference.
void MarkLcs(const TokenIds& reference, const TokenIds& candidate, std::vector<bool>* used);

}  // namespace tenon::engine
