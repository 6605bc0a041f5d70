// A classification evaluation on the device loop.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "worker/runtime/evaluation_job.h"
#include "worker/runtime/runtime.h"

namespace tenon::runtime {

// For each adapter the rows' labels, if they have any, are mapped to its own, and batches of rows of like length run
// whenever it is on the device.
class EvaluationRun final : public EvaluationJob {
 public:
  // `slice_tokens`: of one batch.
  EvaluationRun(EvalJob job, EvalCallbacks callbacks, int64_t slice_tokens, Parts parts);

 private:
  absl::Status Prepare(const Residency::Host& host) override;
  absl::StatusOr<bool> RunRows(const Residency::Device& adapter) override;
  absl::Status Count(const Residency::Host& host) override;
  void Report(const absl::Status& status) override;
  absl::Status MapLabels(const formats::TenonConfig& config);
  // Whether every row has a number for each output.
  absl::Status CheckValues(const formats::TenonConfig& config) const;

  const EvalJob job_;
  const EvalCallbacks callbacks_;
  const int64_t slice_tokens_;
  int64_t encoded_with_ = -1;  // the token limit behind encodings_
  std::vector<engine::Encoding> encodings_;
  std::vector<std::vector<int64_t>> truth_;
  std::vector<size_t> order_;  // rows, longest first
  size_t cursor_ = 0;          // into order_
  // One of them, by the adapter's head.
  std::optional<engine::ClassificationEvaluator> classes_;
  std::optional<engine::RegressionEvaluator> numbers_;
  std::vector<std::pair<formats::TenonConfig, HeadScores>> results_;
};

}  // namespace tenon::runtime
