// Forward and backward of one micro-batch, cut at every layer. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/train/dropout.h"
#include "worker/engine/train/segments.h"
#include "worker/engine/train/trainable.h"

namespace tenon::engine {

// The gradients are bit for bit those of one backward over the whole graph (but for the order in which a parameter that
// several segments read gets its sum): a segment's input is detached, its gradient
// comes out of the segment above and goes into the one below; gradients by an encoder's last states add up over all
// segments that read them. Below the lowest segment with a parameter nothing is kept and nothing flows.
class SegmentedPass {
 public:
  // The loss is the segments' sum times `scale`. `micro_batch` names the dropout streams. All references must outlive
  // the pass.
  SegmentedPass(std::unique_ptr<const Segments> segments, TrainableAdapter& adapter, JobDropout& dropout, double scale,
                int64_t micro_batch);

  // One layer forward, one part of the loss forward and backward, or one layer backward. Adds to the parameters'
  // gradients. True when all is done. LOSS_NOT_FINITE when the loss is not a number.
  absl::StatusOr<bool> Advance();
  // The whole pass over one graph that is not cut: what Advance must equal.
  absl::Status RunWhole();

  // Scaled loss; set once all its parts have run.
  double loss() const { return loss_; }

 private:
  void Forward();
  absl::Status LossBothWays();
  void Backward();
  // Whether the segment goes on from the states of the one before it, and whether it reads the encoder's.
  bool Continues(int64_t segment) const { return segment != 0 && segment != segments_->source_layers(); }
  bool ReadsSource(int64_t segment) const {
    return segments_->source_layers() > 0 && segment >= segments_->source_layers();
  }
  at::Tensor Segment(int64_t segment, const at::Tensor& x, const at::Tensor& source) const;
  absl::StatusOr<at::Tensor> Loss(int64_t part, const at::Tensor& x);
  // Gradients of `output` by the segments' parameters, added to them, and by those of `inputs` that are defined,
  // returned in their places.
  std::vector<at::Tensor> Differentiate(const at::Tensor& output, const at::Tensor& output_grad, int64_t from_segment,
                                        int64_t to_segment, const std::vector<at::Tensor>& inputs);

  const std::unique_ptr<const Segments> segments_;
  TrainableAdapter& adapter_;
  JobDropout& dropout_;
  const int64_t layers_;
  const double scale_;
  const int64_t micro_batch_;
  const int64_t lowest_;

  int64_t next_ = 0;  // segment to run
  int64_t part_ = 0;  // of the loss
  bool backward_ = false;
  at::Tensor x_;                              // states at the border, or the gradient there
  at::Tensor source_, source_grad_;           // the encoder's last states, cut off, and what has come in for them
  std::vector<at::Tensor> inputs_, outputs_;  // of each layer, as long as its backward is due
  double loss_ = 0;
};

}  // namespace tenon::engine
