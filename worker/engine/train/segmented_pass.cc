#include "worker/engine/train/segmented_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::engine {

SegmentedPass::SegmentedPass(const Network& network, TrainableAdapter& adapter, JobDropout& dropout, PackedBatch batch,
                             RowLabels labels, bool multi_label, double scale, int64_t micro_batch)
    : network_(network),
      adapter_(adapter),
      dropout_(dropout),
      batch_(std::move(batch)),
      labels_(std::move(labels)),
      multi_label_(multi_label),
      scale_(scale),
      micro_batch_(micro_batch),
      lowest_(adapter.lowest_segment()),
      inputs_(network.layers()),
      outputs_(network.layers()) {}

absl::StatusOr<bool> SegmentedPass::Advance() {
  if (backward_) {
    Backward();
  } else if (next_ < network_.layers()) {
    Forward();
  } else {
    RETURN_IF_ERROR(HeadBothWays());
  }
  return backward_ && next_ < lowest_;
}

at::Tensor SegmentedPass::Segment(int64_t segment, const at::Tensor& x) const {
  dropout_.Enter(micro_batch_, segment);
  return network_.Layer(segment, segment == 0 ? network_.Embed(batch_) : x, batch_);
}

void SegmentedPass::Forward() {
  const at::AutoGradMode grad(next_ >= lowest_);
  if (next_ > lowest_) x_ = x_.detach().set_requires_grad(true);
  const at::Tensor output = Segment(next_, x_);
  if (next_ >= lowest_) {
    inputs_[next_] = x_;
    outputs_[next_] = output;
  }
  x_ = output.detach();
  ++next_;
}

absl::StatusOr<at::Tensor> SegmentedPass::Loss(const at::Tensor& x) {
  dropout_.Enter(micro_batch_, network_.layers());
  const at::Tensor loss = SumLoss(network_.Head(x, batch_), labels_, multi_label_) * scale_;
  loss_ = loss.item<double>();
  if (!std::isfinite(loss_)) {
    return TenonError(Reason::kLossNotFinite, absl::StrCat("the training loss became ", loss_));
  }
  return loss;
}

absl::Status SegmentedPass::HeadBothWays() {
  const at::AutoGradMode grad(true);
  const at::Tensor input = x_.detach().set_requires_grad(network_.layers() > lowest_);
  ASSIGN_OR_RETURN(const at::Tensor loss, Loss(input));
  x_ = Differentiate(loss, {}, network_.layers(), network_.layers(), input.requires_grad() ? input : at::Tensor());
  backward_ = true;
  --next_;
  return absl::OkStatus();
}

void SegmentedPass::Backward() {
  const at::Tensor input = next_ > lowest_ ? inputs_[next_] : at::Tensor();
  x_ = Differentiate(outputs_[next_], x_, next_, next_, input);
  inputs_[next_] = outputs_[next_] = at::Tensor();
  --next_;
}

at::Tensor SegmentedPass::Differentiate(const at::Tensor& output, const at::Tensor& output_grad, int64_t from_segment,
                                        int64_t to_segment, const at::Tensor& input) {
  std::vector<Parameter*> owners;
  torch::autograd::variable_list wanted;
  for (Parameter& parameter : adapter_.parameters()) {
    if (parameter.segment < from_segment || parameter.segment > to_segment) continue;
    owners.push_back(&parameter);
    wanted.push_back(parameter.value);
  }
  if (input.defined()) wanted.push_back(input);
  torch::autograd::variable_list output_grads;
  if (output_grad.defined()) output_grads.push_back(output_grad);
  const auto grads = torch::autograd::grad({output}, wanted, output_grads);
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < owners.size(); ++i) {
    owners[i]->grad = owners[i]->grad.defined() ? owners[i]->grad + grads[i] : grads[i];
  }
  return input.defined() ? grads.back() : at::Tensor();
}

absl::Status SegmentedPass::RunWhole() {
  const at::AutoGradMode grad(true);
  at::Tensor x;
  for (int64_t segment = 0; segment < network_.layers(); ++segment) x = Segment(segment, x);
  ASSIGN_OR_RETURN(const at::Tensor loss, Loss(x));
  Differentiate(loss, {}, lowest_, network_.layers(), {});
  return absl::OkStatus();
}

}  // namespace tenon::engine
