#include "worker/engine/model/panel_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace tenon::engine {
namespace {

// What the product is, of the rounded numbers, in fp64.
at::Tensor Expected(const at::Tensor& x, const at::Tensor& weight, bool turned) {
  const at::Tensor w = weight.to(at::kDouble);
  return at::mm(x.to(at::kBFloat16).to(at::kDouble), turned ? w : w.t()).to(at::kFloat);
}

TEST(PanelProductTest, EqualsTheDefinitionBothWaysForAnySize) {
  if (!HavePanelProduct()) return;  // elsewhere nobody calls it
  for (const int64_t out : {1, 31, 64, 100}) {
    for (const int64_t in : {1, 33, 96}) {
      const at::Tensor weight = at::randn({out, in}).to(at::kBFloat16);
      for (const int64_t lines : {1, 5, 29}) {
        for (const bool turned : {false, true}) {
          const at::Tensor x = at::randn({lines, turned ? out : in});
          EXPECT_TRUE(at::allclose(PanelProduct(x, weight, turned), Expected(x, weight, turned), 1e-4, 1e-4))
              << out << " x " << in << ", " << lines << " lines, turned " << turned;
        }
      }
    }
  }
}

TEST(PanelProductTest, TakesLinesOfAWiderTensor) {
  if (!HavePanelProduct()) return;
  const at::Tensor weight = at::randn({64, 32}).to(at::kBFloat16), wide = at::randn({7, 96});
  const at::Tensor part = wide.narrow(1, 32, 32);
  EXPECT_TRUE(at::equal(PanelProduct(part, weight, false), PanelProduct(part.contiguous(), weight, false)));
}

TEST(PanelProductTest, TheNumberOfThreadsChangesNothing) {
  if (!HavePanelProduct()) return;
  const at::Tensor x = at::randn({70, 384}), weight = at::randn({160, 384}).to(at::kBFloat16);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor alone = PanelProduct(x, weight, false);
  at::set_num_threads(2);
  EXPECT_TRUE(at::equal(PanelProduct(x, weight, false), alone));
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace tenon::engine
