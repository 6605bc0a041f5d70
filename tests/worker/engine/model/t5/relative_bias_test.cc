#include "worker/engine/model/t5/relative_bias.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

#include <set>
#include <string>
#include <vector>

namespace tenon::engine {
namespace {

constexpr int64_t kBuckets = 8, kHeads = 3, kFarthest = 20;

at::Tensor Numbers(int64_t rows, int64_t columns) {
  return at::sin(at::arange(rows * columns, at::kFloat) * 7).view({rows, columns});
}

RelativeBias MakeBias() {
  RelativeBias bias(Numbers(kBuckets, kHeads), kFarthest, /*both_ways=*/true);
  at::Tensor(bias.weight()).set_requires_grad(true);
  return bias;
}

// Names of what leads from a tensor back to the weight.
std::set<std::string> Steps(const at::Tensor& from) {
  std::set<std::string> names;
  std::vector<torch::autograd::Node*> open = {from.grad_fn().get()};
  while (!open.empty()) {
    torch::autograd::Node* node = open.back();
    open.pop_back();
    names.insert(node->name());
    for (const torch::autograd::Edge& edge : node->next_edges()) {
      if (edge.is_valid()) open.push_back(edge.function.get());
    }
  }
  return names;
}

TEST(RelativeBiasTest, ASquareHoldsTheNumbersOfItsDistances) {
  const RelativeBias bias = MakeBias();
  const int64_t length = 40;  // past the farthest
  const at::Tensor by_distance = bias.Distances(length - 1, length - 1), square = bias.Square(length);
  ASSERT_EQ(square.sizes().vec(), (std::vector<int64_t>{kHeads, length, length}));
  for (int64_t query = 0; query < length; ++query) {
    // Column i of the distances is for distance i - (length - 1).
    const at::Tensor row = by_distance.narrow(1, length - 1 - query, length);
    EXPECT_TRUE(at::equal(square.select(1, query), row)) << query;
  }
}

TEST(RelativeBiasTest, TheGradientOfANumberIsTheSumOverItsPlaces) {
  const RelativeBias bias = MakeBias();
  const at::Tensor square = bias.Square(5);
  const at::Tensor given = Numbers(kHeads, 25).view({kHeads, 5, 5});
  const at::Tensor grad = torch::autograd::grad({square}, {bias.weight()}, {given})[0];
  // Places that show the same number of a table whose rows all differ belong to one bucket.
  const at::Tensor shown = square.detach();
  for (int64_t bucket = 0; bucket < kBuckets; ++bucket) {
    const at::Tensor places = shown.select(0, 0) == bias.weight().detach()[bucket][0];
    for (int64_t head = 0; head < kHeads; ++head) {
      const double sum = (given.select(0, head) * places).sum().item<double>();
      EXPECT_NEAR(grad[bucket][head].item<double>(), sum, 1e-5) << bucket << " " << head;
    }
  }
}

// Atomics are CUDA's alone, so that no value on a CPU shows them: what is looked at is the way of the gradient.
TEST(RelativeBiasTest, TheGradientIsAnEmbeddingsAndTakesNoAtomics) {
  const RelativeBias bias = MakeBias();
  for (const at::Tensor& numbers : {bias.Distances(4, 4), bias.Square(5)}) {
    const std::set<std::string> steps = Steps(numbers);
    EXPECT_EQ(steps.count("EmbeddingBackward0"), 1u);
    for (const std::string& step : steps) EXPECT_EQ(step.find("Index"), std::string::npos) << step;
  }
}

}  // namespace
}  // namespace tenon::engine
