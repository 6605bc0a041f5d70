#include "worker/engine/model/t5/relative_bias.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/log.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "worker/engine/model/torch_util.h"

namespace tenon::engine {
namespace {

// Behind the last distance that a kernel looks at it reads up to one vector more.
constexpr int64_t kSpare = 16;

// Bucket of each distance, int64. Half of the buckets are single distances; the others grow like a logarithm up to
// max_distance. In fp32 and by torch's own logarithm: a distance on the border between two must fall where the
// published code puts it.
at::Tensor Buckets(const at::Tensor& distance, int64_t buckets, int64_t max_distance, bool both_ways) {
  at::Tensor bucket = at::zeros_like(distance);
  at::Tensor size = at::clamp(-distance, 0);
  if (both_ways) {
    buckets /= 2;
    bucket = (distance > 0).to(at::kLong) * buckets;
    size = distance.abs();
  }
  const int64_t single = buckets / 2;
  const double octave =
      std::log(static_cast<double>(max_distance) / static_cast<double>(single));  // to be divided among the rest
  const at::Tensor place =
      at::log(size.to(at::kFloat) / static_cast<double>(single)) / octave * static_cast<double>(buckets - single);
  const at::Tensor far = at::clamp(single + at::clamp(place, 0).to(at::kLong), c10::nullopt, buckets - 1);
  return bucket + at::where(size < single, size, far);
}

}  // namespace

RelativeBias::RelativeBias(const at::Tensor& weight, int64_t max_distance, bool both_ways)
    : weight_(weight.to(at::kFloat)), reach_(max_distance) {
  const at::Tensor distance = at::arange(-reach_, reach_ + 1, at::TensorOptions().dtype(at::kLong));
  buckets_ = Buckets(distance, weight.size(0), max_distance, both_ways).to(weight.device());
}

at::Tensor RelativeBias::Numbers(const at::Tensor& distances) const {
  // An embedding's gradient adds its rows in one order on every device; that of index_select adds by atomics on CUDA.
  return at::embedding(weight_, buckets_.take(at::clamp(distances, -reach_, reach_) + reach_));
}

at::Tensor RelativeBias::Distances(int64_t back, int64_t ahead) const {
  const auto options = at::TensorOptions().dtype(at::kLong).device(weight_.device());
  return Numbers(at::arange(-back, ahead + 1, options)).t();
}

at::Tensor RelativeBias::Square(int64_t length) const {
  const at::Tensor places = at::arange(length, at::TensorOptions().dtype(at::kLong).device(weight_.device()));
  return Numbers(places.unsqueeze(0) - places.unsqueeze(1)).permute({2, 0, 1}).contiguous();
}

int64_t RelativeBias::Bytes() const { return TensorBytes(weight_) + TensorBytes(buckets_); }

BiasTable::BiasTable(const RelativeBias& bias, int64_t back, int64_t ahead)
    : table_(bias.Distances(back, ahead + kSpare).contiguous()), back_(back) {}

DistanceBias BiasTable::view() const { return {table_.const_data_ptr<float>() + back_, table_.size(1)}; }

}  // namespace tenon::engine
