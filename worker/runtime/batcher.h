// Which rows run together. Pure: no threads, no clock, no texts.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <unordered_map>
#include <vector>

namespace tenon::runtime {

// Adapters are small numbers here (residency.h); 0 is the base alone.
using AdapterId = uint64_t;
inline constexpr AdapterId kNoAdapter = 0;

// Rows of calls, from which batches are cut by a budget of tokens.
//
// One batch serves one base, the one whose ready call is oldest. That call gets up to half of the budget, so that it
// cannot starve; the others share the rest in the order in which they came, a quarter of the budget at most for each;
// what is then left goes to whoever has rows. A short call behind a long one is therefore in the next batch. A call's
// rows go longest first, so that its batches have rows of like length. A row longer than the budget goes alone.
class Batcher {
 public:
  struct Options {
    int64_t max_tokens = 4096;
    int64_t max_rows = 256;
  };
  struct Row {
    uint64_t call = 0;
    int32_t index = 0;  // within the call
    int32_t tokens = 0;
    AdapterId adapter = kNoAdapter;
  };
  // Sorted by adapter, then longest first.
  struct Batch {
    uint64_t base = 0;
    std::vector<Row> rows;
    int64_t tokens = 0;
    int64_t distinct_adapters = 0;  // the base alone counts as one
  };
  // Whether rows of this adapter can run now.
  using Ready = std::function<bool(AdapterId)>;

  explicit Batcher(const Options& options) : options_(options) {}

  // `tokens` of each row, in the order of the call's texts.
  void Add(uint64_t call, uint64_t base, AdapterId adapter, const std::vector<int32_t>& tokens);
  // Forgets what still waits of a call.
  void Remove(uint64_t call);

  bool HasReady(const Ready& ready) const;
  // Empty when nothing is ready. The rows are taken.
  Batch Next(const Ready& ready);

  int64_t rows() const { return rows_; }
  int64_t tokens() const { return tokens_; }

 private:
  struct Call {
    uint64_t id = 0, base = 0;
    AdapterId adapter = kNoAdapter;
    std::vector<Row> rows;  // shortest first: taken from the back
  };
  void Take(Call& call, int64_t allowance, Batch& batch);
  bool Full(const Batch& batch) const;

  const Options options_;
  std::list<Call> calls_;  // oldest first
  std::unordered_map<uint64_t, std::list<Call>::iterator> by_id_;
  int64_t rows_ = 0, tokens_ = 0;
};

}  // namespace tenon::runtime
