// Forward and backward of one micro-batch, cut at every layer. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/train/network.h"

namespace tenon::engine {

// The gradients are bit for bit those of one backward over the whole graph: a segment's input is detached, its gradient
// comes out of the segment above and goes into the one below. Below the lowest segment with a parameter nothing is kept
// and nothing flows.
class SegmentedPass {
 public:
  // The loss is the rows' sum times `scale`. `micro_batch` names the dropout streams. All references must outlive the
  // pass.
  SegmentedPass(const Network& network, TrainableAdapter& adapter, JobDropout& dropout, PackedBatch batch,
                RowLabels labels, bool multi_label, double scale, int64_t micro_batch);

  // One layer forward, the head forward and backward, or one layer backward. Adds to the parameters' gradients. True
  // when all is done. LOSS_NOT_FINITE when the loss is not a number.
  absl::StatusOr<bool> Advance();
  // The whole pass over one graph that is not cut: what Advance must equal.
  absl::Status RunWhole();

  // Scaled loss; set once the head has run.
  double loss() const { return loss_; }

 private:
  void Forward();
  absl::Status HeadBothWays();
  void Backward();
  at::Tensor Segment(int64_t segment, const at::Tensor& x) const;
  absl::StatusOr<at::Tensor> Loss(const at::Tensor& x);
  // Gradients of `output` by the segment's parameters, added to them, and by `input`, returned when it is defined.
  at::Tensor Differentiate(const at::Tensor& output, const at::Tensor& output_grad, int64_t from_segment,
                           int64_t to_segment, const at::Tensor& input);

  const Network& network_;
  TrainableAdapter& adapter_;
  JobDropout& dropout_;
  PackedBatch batch_;
  RowLabels labels_;
  bool multi_label_;
  double scale_;
  int64_t micro_batch_;
  int64_t lowest_;

  int64_t next_ = 0;  // segment to run
  bool backward_ = false;
  at::Tensor x_;                              // states at the border, or the gradient there
  std::vector<at::Tensor> inputs_, outputs_;  // of each layer, as long as its backward is due
  double loss_ = 0;
};

}  // namespace tenon::engine
