// Passes that are cut into segments, in tests: run to their end, and held against the whole.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <vector>

#include "worker/engine/train/segmented_pass.h"

namespace tenon::testing {

// Advances to the end; the slices that it took.
inline int Slices(engine::SegmentedPass& pass) {
  for (int slices = 1;; ++slices) {
    const auto finished = pass.Advance();
    EXPECT_TRUE(finished.ok()) << finished.status();
    if (!finished.ok() || *finished) return slices;
  }
}

// The gradients, which the next pass starts without.
inline std::vector<at::Tensor> TakeGradients(std::vector<engine::Parameter>& parameters) {
  std::vector<at::Tensor> grads;
  for (engine::Parameter& parameter : parameters) {
    EXPECT_TRUE(parameter.grad.defined()) << parameter.name;
    grads.push_back(parameter.grad.clone());
    parameter.grad = at::Tensor();
  }
  return grads;
}

// Of two passes that `make` makes, one in slices and one whole: bit for bit, and no gradient is zero.
template <typename Make>
void ExpectSlicedEqualsWhole(std::vector<engine::Parameter>& parameters, const Make& make) {
  engine::SegmentedPass sliced = make();
  Slices(sliced);
  const std::vector<at::Tensor> parts = TakeGradients(parameters);
  engine::SegmentedPass whole = make();
  ASSERT_TRUE(whole.RunWhole().ok());
  const std::vector<at::Tensor> all = TakeGradients(parameters);
  EXPECT_EQ(sliced.loss(), whole.loss());
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(at::equal(parts[i], all[i])) << parameters[i].name;
    EXPECT_GT(all[i].abs().max().item<double>(), 0) << parameters[i].name;
  }
}

}  // namespace tenon::testing
