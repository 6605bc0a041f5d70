// An evaluation of tags or of answers on the device loop.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "worker/engine/spans/answer_windows.h"
#include "worker/engine/spans/tag_windows.h"
#include "worker/runtime/evaluation_job.h"
#include "worker/runtime/runtime.h"

namespace tenon::runtime {

// For each adapter the rows' windows of like length run together; a row is counted when its last one is through.
class SpanEvaluation final : public EvaluationJob {
 public:
  // `slice_tokens`: of one batch.
  SpanEvaluation(EvalJob job, EvalCallbacks callbacks, int64_t slice_tokens, Parts parts);

 private:
  // A row's window.
  struct Window {
    const engine::Encoding* encoding;
    size_t row, index;
  };

  absl::Status Prepare(const Residency::Host& host) override;
  absl::StatusOr<bool> RunRows(const Residency::Device& adapter) override;
  absl::Status Count(const Residency::Host& host) override;
  void Report(const absl::Status& status) override;

  bool tags() const { return !job_.words.empty(); }
  size_t rows() const { return tags() ? job_.words.size() : job_.questions.size(); }
  absl::Status CheckTags(const formats::TenonConfig& config) const;
  absl::Status CutRows(int64_t limit);
  void CountRow(size_t row, const engine::HostAdapter& adapter);

  const EvalJob job_;
  const EvalCallbacks callbacks_;
  const int64_t slice_tokens_;
  int64_t cut_with_ = -1;                                    // the token limit behind the windows
  std::vector<std::vector<engine::TagWindow>> tag_windows_;  // of each row; one of the two
  std::vector<engine::AnswerWindows> answer_windows_;
  std::vector<Window> order_;                            // longest first
  size_t cursor_ = 0;                                    // into order_
  std::vector<std::vector<std::vector<float>>> values_;  // of each row's windows, as far as they are there
  std::vector<size_t> missing_;                          // windows, of each row
  engine::AnswerOptions options_;
  engine::TagEvaluator tags_;
  engine::AnswerEvaluator answers_;
  std::vector<std::pair<formats::TenonConfig, HeadScores>> results_;
};

}  // namespace tenon::runtime
