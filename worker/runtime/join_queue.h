// Which rows join a decoder next. Pure: no threads, no clock, no texts.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "worker/runtime/batcher.h"

namespace tenon::runtime {

// Rows of calls that wait for lines of one base's decoder.
//
// The next row is of the call that holds fewest lines, the oldest of several: every call has a row running before one
// has two, and a call of many rows takes what the others leave. Within a call rows go in order. Whoever asks is to wait
// with a row that does not fit yet rather than pass over it: it would else wait for as long as smaller ones come. Rows
// whose adapter is not ready hold up nobody.
class JoinQueue {
 public:
  struct Row {
    uint64_t call = 0;
    int32_t index = 0;  // within the call
    int32_t tokens = 0;
    AdapterId adapter = kNoAdapter;
  };
  // Whether rows of this adapter can run now.
  using Ready = std::function<bool(AdapterId)>;

  // `call` grows from one to the next. `tokens` of each row; each row holds `lines` lines while it runs.
  void Add(uint64_t call, AdapterId adapter, int64_t lines, const std::vector<int32_t>& tokens);
  // Forgets the call, running or not.
  void Remove(uint64_t call);

  std::optional<Row> Next(const Ready& ready) const;
  // Next's row runs from now on.
  void Take(const Row& row);
  // A row that was taken waits again after all, first of its call.
  void PutBack(const Row& row);
  // A row that ran has left.
  void Left(uint64_t call);

  int64_t rows() const { return rows_; }
  int64_t tokens() const { return tokens_; }

 private:
  struct Call {
    AdapterId adapter = kNoAdapter;
    int64_t lines = 0;     // of a row
    int64_t running = 0;   // rows
    std::deque<Row> rows;  // that wait
  };
  std::map<uint64_t, Call> calls_;
  int64_t rows_ = 0, tokens_ = 0;
};

}  // namespace tenon::runtime
