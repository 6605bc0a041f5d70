#include "worker/engine/train/dropout.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/bernoulli.h>
#include <ATen/ops/empty_like.h>

#include "worker/engine/model/fused.h"
#include "worker/engine/train/random.h"

namespace tenon::engine {
namespace {

at::Generator MakeGenerator(const at::Device& device) {
  if (device.is_cpu()) return {};
  return at::globalContext().getAcceleratorHooksInterface(device.type()).getNewGenerator(device.index());
}

}  // namespace

JobDropout::JobDropout(uint64_t seed, const at::Device& device) : seed_(seed), generator_(MakeGenerator(device)) {}

void JobDropout::Enter(int64_t micro_batch, int64_t segment) {
  micro_batch_ = static_cast<uint64_t>(micro_batch);
  segment_ = static_cast<uint64_t>(segment);
  calls_ = 0;
  if (generator_.defined()) {
    generator_.set_current_seed(StreamKey(seed_, Stream::kDropout, {micro_batch_, segment_}));
  }
}

kernels::DropoutMask JobDropout::Next(double p) {
  if (p <= 0) return {};
  return {StreamKey(seed_, Stream::kDropout, {micro_batch_, segment_, calls_++}), p};
}

at::Tensor JobDropout::operator()(const at::Tensor& x, double p) {
  if (p <= 0) return x;
  if (x.is_cpu()) return Dropout(x.to(at::kFloat), Next(p)).to(x.scalar_type());
  at::Tensor mask = at::empty_like(x, at::MemoryFormat::Contiguous).detach();
  mask.bernoulli_(1 - p, generator_).mul_(1 / (1 - p));
  return x * mask;
}

}  // namespace tenon::engine
