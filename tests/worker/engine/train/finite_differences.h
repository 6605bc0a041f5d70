// Gradients against differences of the loss, which take no way through autograd.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace tenon::testing {

struct Differences {
  double step;
  double absolute;      // what the loss's last bits may add
  double relative = 0;  // of the slope: what a curve adds
};

// Of `value`, float32 and contiguous: the element with the steepest gradient and some others are moved up and down by a
// step and by a quarter of it, and the gradient has to lie among the slopes so found. They are one slope where the loss
// is smooth; a relu that turns on within a step parts them, and the gradient is one of them.
template <typename Loss>
void ExpectSlopes(const std::string& name, const at::Tensor& value, const at::Tensor& grad, const Loss& loss,
                  const Differences& differences) {
  const at::NoGradGuard no_grad;
  at::Tensor flat = value.detach().view(-1);
  const at::Tensor grads = grad.reshape(-1);
  const double here = loss();
  std::vector<int64_t> elements = {grads.abs().argmax().item<int64_t>()};
  for (int64_t i = 0; i < flat.numel(); i += 1 + flat.numel() / 3) elements.push_back(i);
  for (const int64_t element : elements) {
    const double kept = flat[element].item<double>();
    const auto slope = [&](double step) {
      flat[element].fill_(kept + step);
      return (loss() - here) / step;
    };
    const double step = differences.step;
    const auto [low, high] = std::minmax({slope(step), slope(-step), slope(step / 4), slope(-step / 4)});
    flat[element].fill_(kept);
    const double slack = differences.absolute + differences.relative * std::max(std::abs(low), std::abs(high));
    const double found = grads[element].item<double>();
    EXPECT_GE(found, low - slack) << name << " " << element;
    EXPECT_LE(found, high + slack) << name << " " << element;
  }
}

}  // namespace tenon::testing
