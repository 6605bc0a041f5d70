#include "worker/engine/model/fused_attention.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "worker/engine/kernels/attention.h"
#include "worker/engine/model/floats.h"
#include "worker/engine/model/kept.h"
#include "worker/engine/model/parallel.h"

namespace tenon::engine {
namespace {

using kernels::DropoutMask;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

int64_t Longest(const std::vector<int64_t>& offsets) {
  int64_t longest = 0;
  for (size_t row = 1; row < offsets.size(); ++row) longest = std::max(longest, offsets[row] - offsets[row - 1]);
  return longest;
}

struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  struct Saved {
    at::Tensor q, kv;  // kv is undefined where q holds all three
    at::Tensor bias, log_sum;
    std::vector<int64_t> offsets, source_offsets;
    int64_t heads = 0;
    float scale = 1;
    DistanceTable distances;
    bool causal = false;
    DropoutMask mask;
    bool trains_distances = false;

    int64_t hidden() const { return kv.defined() ? q.size(1) : q.size(1) / 3; }

    kernels::Attention Kernel() const {
      kernels::Attention kernel;
      kernel.rows = static_cast<int64_t>(offsets.size()) - 1;
      kernel.heads = heads;
      kernel.head_size = hidden() / heads;
      kernel.offsets = offsets.data();
      kernel.longest = Longest(offsets);
      kernel.q = Read(q);
      kernel.stride = q.size(1);
      kernel.k = kv.defined() ? Read(kv) : kernel.q + hidden();
      kernel.v = kernel.k + hidden();
      kernel.key_stride = kv.defined() ? kv.size(1) : kernel.stride;
      if (kv.defined()) {
        kernel.key_offsets = source_offsets.data();
        kernel.longest = std::max(kernel.longest, Longest(source_offsets));
      }
      if (bias.defined()) {
        kernel.q_bias = Read(bias);
        kernel.k_bias = kernel.q_bias + hidden();
        kernel.v_bias = kernel.k_bias + hidden();
      }
      kernel.scale = scale;
      if (distances.numbers.defined()) {
        kernel.distances = Read(distances.numbers) + distances.zero;
        kernel.distance_stride = distances.numbers.size(1);
      }
      kernel.causal = causal;
      kernel.mask = mask;
      return kernel;
    }
  };

  // `inputs` are q, kv and distances: what autograd must see.
  static at::Tensor forward(AutogradContext* context, at::TensorList /*inputs*/, const Saved& given) {
    Saved saved = given;
    saved.log_sum = at::empty({saved.q.size(0), saved.heads}, saved.q.options());
    at::Tensor y = at::empty({saved.q.size(0), saved.hidden()}, saved.q.options());
    const kernels::Attention kernel = saved.Kernel();
    ParallelFor(kernels::AttentionPieces(kernel), 1,
                [&, to = Write(y), sums = Write(saved.log_sum)](int64_t begin, int64_t end) {
                  kernels::RunAttention(kernel, to, sums, begin, end);
                });
    Keep(context, std::move(saved));
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const Saved& saved = Kept<Saved>(context);
    const at::Tensor y_grad = grads[0].contiguous();
    at::Tensor q_grad = at::empty_like(saved.q);
    at::Tensor kv_grad = saved.kv.defined() ? at::empty_like(saved.kv) : at::Tensor();
    const int64_t hidden = saved.hidden();
    float* to_q = Write(q_grad);
    float* to_k = saved.kv.defined() ? Write(kv_grad) : to_q + hidden;
    const kernels::Attention kernel = saved.Kernel();
    kernels::AttentionGradient gradient{Read(y_grad), Read(saved.log_sum), to_q, to_k, to_k + hidden};
    at::Tensor by_piece;  // of the distances: [rows, heads, columns]
    if (saved.trains_distances) {
      by_piece = at::zeros({kernel.rows, kernel.heads, kernel.distance_stride}, saved.q.options());
      gradient.distances_grad = Write(by_piece);
      gradient.zero = saved.distances.zero;
    }
    ParallelFor(kernels::AttentionPieces(kernel), 1,
                [&](int64_t begin, int64_t end) { kernels::RunAttentionGradient(kernel, gradient, begin, end); });
    variable_list result = {q_grad};
    if (saved.kv.defined()) result.push_back(kv_grad);
    if (saved.trains_distances) result.push_back(by_piece.sum(0));
    result.emplace_back();
    return result;
  }

  static at::Tensor Run(const at::Tensor& q, const at::Tensor& kv, Saved saved) {
    const at::Tensor own = q.contiguous();
    std::vector<at::Tensor> inputs = {own};
    saved.q = own.detach();
    if (kv.defined()) {
      inputs.push_back(kv.contiguous());
      saved.kv = inputs.back().detach();
    }
    if (saved.distances.numbers.defined() && saved.distances.numbers.requires_grad()) {
      inputs.push_back(saved.distances.numbers);
      saved.trains_distances = true;
      saved.distances.numbers = saved.distances.numbers.detach();
    }
    return AttentionFunction::apply(at::TensorList(inputs), saved);
  }
};

}  // namespace

at::Tensor RaggedAttention(const at::Tensor& qkv, const at::Tensor& bias, const std::vector<int64_t>& offsets,
                           int64_t heads, const DropoutMask& mask) {
  AttentionFunction::Saved saved;
  saved.bias = Wide(bias);
  saved.offsets = offsets;
  saved.heads = heads;
  saved.scale = 1 / std::sqrt(static_cast<float>(qkv.size(1) / 3 / heads));
  saved.mask = mask;
  return AttentionFunction::Run(qkv, {}, std::move(saved));
}

at::Tensor DistanceAttention(const at::Tensor& qkv, const std::vector<int64_t>& offsets, int64_t heads,
                             const DistanceTable& distances, bool causal, const DropoutMask& mask) {
  const int64_t longest = Longest(offsets);
  TORCH_CHECK(
      distances.zero >= longest - 1 && distances.numbers.size(1) - distances.zero >= longest + kernels::kSpareDistances,
      "the table lacks distances of the longest row");
  AttentionFunction::Saved saved;
  saved.offsets = offsets;
  saved.heads = heads;
  saved.distances = distances;
  saved.causal = causal;
  saved.mask = mask;
  return AttentionFunction::Run(qkv, {}, std::move(saved));
}

at::Tensor SourceAttention(const at::Tensor& q, const at::Tensor& kv, const std::vector<int64_t>& offsets,
                           const std::vector<int64_t>& source_offsets, int64_t heads, const DropoutMask& mask) {
  AttentionFunction::Saved saved;
  saved.offsets = offsets;
  saved.source_offsets = source_offsets;
  saved.heads = heads;
  saved.mask = mask;
  return AttentionFunction::Run(q, kv, std::move(saved));
}

}  // namespace tenon::engine
