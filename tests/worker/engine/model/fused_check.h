// Fused functions held against plain operators: values and gradients.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace tenon::testing {

using FusedFunction = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

inline at::Tensor Random(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::TensorOptions().dtype(at::kFloat));
}

inline double Distance(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

// Values and all gradients of sum(f(inputs) * random).
inline std::vector<at::Tensor> ValuesAndGradients(const FusedFunction& function,
                                                  const std::vector<at::Tensor>& values) {
  std::vector<at::Tensor> inputs;
  for (const at::Tensor& value : values) inputs.push_back(value.detach().clone().set_requires_grad(true));
  const at::Tensor y = function(inputs);
  std::vector<at::Tensor> all = torch::autograd::grad({(y * Random(y.sizes(), 99)).sum()}, inputs);
  all.insert(all.begin(), y.detach());
  return all;
}

inline void ExpectSame(const FusedFunction& fused, const FusedFunction& plain, const std::vector<at::Tensor>& inputs) {
  const std::vector<at::Tensor> a = ValuesAndGradients(fused, inputs), b = ValuesAndGradients(plain, inputs);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_LT(Distance(a[i], b[i]), 2e-5) << i;
}

}  // namespace tenon::testing
