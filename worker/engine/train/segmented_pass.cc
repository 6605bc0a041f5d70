#include "worker/engine/train/segmented_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"

namespace tenon::engine {
namespace {

// `sum` may be undefined, which is 0.
void AddTo(at::Tensor& sum, const at::Tensor& more) { sum = sum.defined() ? sum + more : more; }

}  // namespace

SegmentedPass::SegmentedPass(std::unique_ptr<const Segments> segments, TrainableAdapter& adapter, JobDropout& dropout,
                             double scale, int64_t micro_batch)
    : segments_(std::move(segments)),
      adapter_(adapter),
      dropout_(dropout),
      layers_(segments_->layers()),
      scale_(scale),
      micro_batch_(micro_batch),
      lowest_(adapter.lowest_segment()),
      inputs_(layers_),
      outputs_(layers_) {}

absl::StatusOr<bool> SegmentedPass::Advance() {
  if (backward_) {
    Backward();
  } else if (next_ < layers_) {
    Forward();
  } else {
    RETURN_IF_ERROR(LossBothWays());
  }
  return backward_ && next_ < lowest_;
}

at::Tensor SegmentedPass::Segment(int64_t segment, const at::Tensor& x, const at::Tensor& source) const {
  dropout_.Enter(micro_batch_, segment);
  return segments_->Layer(segment, Continues(segment) ? x : at::Tensor(), ReadsSource(segment) ? source : at::Tensor());
}

void SegmentedPass::Forward() {
  const at::AutoGradMode grad(next_ >= lowest_);
  if (ReadsSource(next_) && !source_.defined()) source_ = x_.detach().set_requires_grad(next_ > lowest_);
  const bool flows = Continues(next_) && next_ > lowest_;
  const at::Tensor input = flows ? x_.detach().set_requires_grad(true) : x_;
  const at::Tensor output = Segment(next_, input, source_);
  if (next_ >= lowest_) {
    if (flows) inputs_[next_] = input;
    outputs_[next_] = output;
  }
  x_ = output.detach();
  ++next_;
}

absl::StatusOr<at::Tensor> SegmentedPass::Loss(int64_t part, const at::Tensor& x) {
  dropout_.Enter(micro_batch_, layers_ + part);
  const at::Tensor loss = segments_->Loss(part, x) * scale_;
  const auto value = loss.item<double>();
  loss_ += value;
  if (!std::isfinite(value)) {
    return TenonError(Reason::kLossNotFinite, absl::StrCat("the training loss became ", value));
  }
  return loss;
}

absl::Status SegmentedPass::LossBothWays() {
  const at::AutoGradMode grad(true);
  if (part_ == 0) inputs_.push_back(x_.detach().set_requires_grad(layers_ > lowest_));
  const at::Tensor& input = inputs_[layers_];
  ASSIGN_OR_RETURN(const at::Tensor loss, Loss(part_, input));
  const at::Tensor by_input = input.requires_grad() ? input : at::Tensor();
  const at::Tensor part_grad = Differentiate(loss, {}, layers_, layers_, {by_input})[0];
  if (part_ == 0) x_ = at::Tensor();
  if (part_grad.defined()) AddTo(x_, part_grad);
  if (++part_ < segments_->loss_parts()) return absl::OkStatus();
  inputs_.pop_back();
  backward_ = true;
  --next_;
  return absl::OkStatus();
}

void SegmentedPass::Backward() {
  const bool by_source = ReadsSource(next_) && source_.requires_grad();
  const std::vector<at::Tensor> grads =
      Differentiate(outputs_[next_], x_, next_, next_, {inputs_[next_], by_source ? source_ : at::Tensor()});
  inputs_[next_] = outputs_[next_] = at::Tensor();
  x_ = grads[0];
  if (by_source) {
    AddTo(source_grad_, grads[1]);
    if (!Continues(next_)) x_ = std::exchange(source_grad_, {});  // the encoder's last states come next
  }
  --next_;
}

std::vector<at::Tensor> SegmentedPass::Differentiate(const at::Tensor& output, const at::Tensor& output_grad,
                                                     int64_t from_segment, int64_t to_segment,
                                                     const std::vector<at::Tensor>& inputs) {
  std::vector<Parameter*> owners;
  torch::autograd::variable_list wanted;
  for (Parameter& parameter : adapter_.parameters()) {
    const auto reads = [&](int64_t segment) { return segment >= from_segment && segment <= to_segment; };
    if (std::none_of(parameter.segments.begin(), parameter.segments.end(), reads)) continue;
    owners.push_back(&parameter);
    wanted.push_back(parameter.value);
  }
  for (const at::Tensor& input : inputs) {
    if (input.defined()) wanted.push_back(input);
  }
  torch::autograd::variable_list output_grads;
  if (output_grad.defined()) output_grads.push_back(output_grad);
  const auto grads = torch::autograd::grad({output}, wanted, output_grads);
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < owners.size(); ++i) AddTo(owners[i]->grad, grads[i]);
  std::vector<at::Tensor> by_input;
  size_t next = owners.size();
  for (const at::Tensor& input : inputs) by_input.push_back(input.defined() ? grads[next++] : at::Tensor());
  return by_input;
}

absl::Status SegmentedPass::RunWhole() {
  const at::AutoGradMode grad(true);
  at::Tensor x, source, loss;
  for (int64_t segment = 0; segment < layers_; ++segment) {
    if (ReadsSource(segment) && !source.defined()) source = x;
    x = Segment(segment, x, source);
  }
  for (int64_t part = 0; part < segments_->loss_parts(); ++part) {
    ASSIGN_OR_RETURN(const at::Tensor more, Loss(part, x));
    AddTo(loss, more);
  }
  Differentiate(loss, {}, lowest_, layers_, {});
  return absl::OkStatus();
}

}  // namespace tenon::engine
