// One model's way through the rows of an evaluation: their targets are read and texts written, in a decoder of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "worker/engine/evaluate/seq2seq.h"
#include "worker/engine/generate/generation_batch.h"
#include "worker/runtime/decoder_lane.h"
#include "worker/runtime/seq2seq_rows.h"

namespace tenon::runtime {

// Of the device thread. A row has two lines of the decoder or more: one reads its target, the others write. Rows join
// in order, as others finish.
class Seq2SeqPass {
 public:
  struct Limits {
    int64_t slice_tokens = 2048;  // of sources that a slice reads
    engine::GenerationBatch::Options decoder;
  };
  struct Model {
    std::shared_ptr<const engine::Base> base;
    std::shared_ptr<const engine::DeviceAdapter> adapter;  // null: the base alone
    engine::GenerationPlan plan;                           // how it writes
    bool seeded = false;                                   // every row draws by the plan's seed, not by one of its own
  };
  Seq2SeqPass(Model model, std::vector<Seq2SeqInput> rows, const Limits& limits);

  // Takes in what there is room for, then one decode step. An error of a row names it.
  absl::Status RunSlice();
  int64_t rows_done() const { return rows_done_; }
  bool done() const { return rows_done_ == static_cast<int64_t>(rows_.size()); }
  // What came of the rows, in order, once done.
  std::vector<engine::Seq2SeqRow> Take() { return std::move(results_); }

 private:
  // The next request to join: of every row its reading (even ids), then its writing.
  engine::GenerationRequest NextRequest() const;
  absl::Status Join();
  absl::Status Deliver(const engine::GenerationEvent& event);

  const Model model_;
  const std::vector<Seq2SeqInput> rows_;
  const int64_t slice_tokens_;
  DecoderLane lane_;
  uint64_t next_ = 0;  // request
  std::vector<engine::Seq2SeqRow> results_;
  std::vector<int> open_requests_;  // of each row
  int64_t rows_done_ = 0;
};

}  // namespace tenon::runtime
