#include "worker/engine/train/dropout.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/bernoulli.h>
#include <ATen/ops/empty_like.h>

#include "worker/engine/train/random.h"

namespace tenon::engine {
namespace {

at::Generator MakeGenerator(const at::Device& device) {
  if (device.is_cpu()) return at::detail::createCPUGenerator();
  return at::globalContext().getAcceleratorHooksInterface(device.type()).getNewGenerator(device.index());
}

}  // namespace

JobDropout::JobDropout(uint64_t seed, const at::Device& device) : seed_(seed), generator_(MakeGenerator(device)) {}

void JobDropout::Enter(int64_t micro_batch, int64_t segment) {
  const auto micro = static_cast<uint64_t>(micro_batch), part = static_cast<uint64_t>(segment);
  generator_.set_current_seed(StreamKey(seed_, Stream::kDropout, {micro, part}));
}

at::Tensor JobDropout::operator()(const at::Tensor& x, double p) {
  if (p <= 0) return x;
  at::Tensor mask = at::empty_like(x, at::MemoryFormat::Contiguous).detach();
  mask.bernoulli_(1 - p, generator_).mul_(1 / (1 - p));
  return x * mask;
}

}  // namespace tenon::engine
