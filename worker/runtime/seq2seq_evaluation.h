// An evaluation of written texts on the device loop.
#pragma once

#include <optional>
#include <vector>

#include "worker/runtime/evaluation_job.h"
#include "worker/runtime/runtime.h"
#include "worker/runtime/seq2seq_pass.h"

namespace tenon::runtime {

// Each adapter has a place on the device of its own for as long as its rows run, beside the slots of serving: a text
// holds its weights from its first token to its last, and would else keep a slot from those who wait for an answer.
class Seq2SeqEvaluation final : public EvaluationJob {
 public:
  using Limits = Seq2SeqPass::Limits;
  Seq2SeqEvaluation(Seq2SeqEvalJob job, Seq2SeqEvalCallbacks callbacks, const Limits& limits, Parts parts);

 private:
  absl::Status Prepare(const Residency::Host& host) override;
  absl::StatusOr<bool> RunRows(const Residency::Device&) override;
  absl::Status Count(const Residency::Host&) override;
  void Drop() override { pass_.reset(); }
  void Report(const absl::Status& status) override;
  absl::StatusOr<engine::GenerationPlan> Plan() const;

  const Seq2SeqEvalJob job_;
  const Seq2SeqEvalCallbacks callbacks_;
  const Limits limits_;
  std::optional<engine::Seq2SeqEvaluator> evaluator_;  // of the adapter whose turn it is
  std::optional<Seq2SeqPass> pass_;
  std::vector<engine::Seq2SeqScores> results_;
};

}  // namespace tenon::runtime
