#include "worker/engine/generate/scores.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/where.h>

namespace tenon::engine {
namespace {

template <typename T>
at::Tensor OnDevice(const std::vector<T>& values, at::ScalarType type, const at::Device& device) {
  const at::Tensor host = at::from_blob(const_cast<T*>(values.data()), {static_cast<int64_t>(values.size())},
                                        at::TensorOptions().dtype(type));
  return device.is_cpu() ? host : host.to(device);
}

void Ban(at::Tensor& flat, const std::vector<int64_t>& places) {
  if (!places.empty()) flat.index_fill_(0, OnDevice(places, at::kLong, flat.device()), kImpossible);
}

}  // namespace

void ScoreEdits::Put(int64_t row, const std::vector<int32_t>& ids, std::vector<int64_t>& places) const {
  for (const int32_t id : ids) {
    if (id >= 0 && id < vocab_size_) places.push_back(row * vocab_size_ + id);
  }
}

void ScoreEdits::Add(int64_t row, const Constraints& constraints, double repetition_penalty) {
  Put(row, constraints.repeated, repeated_);
  penalties_.resize(repeated_.size(), static_cast<float>(repetition_penalty));
  Put(row, constraints.banned, banned_);
  if (!constraints.forced.empty()) forced_rows_.push_back(row);
  Put(row, constraints.forced, forced_);
  Put(row, constraints.suppressed, suppressed_);
}

void ScoreEdits::Apply(at::Tensor& scores) const {
  at::Tensor flat = scores.view({-1});
  if (!repeated_.empty()) {
    const at::Tensor places = OnDevice(repeated_, at::kLong, flat.device());
    const at::Tensor penalties = OnDevice(penalties_, at::kFloat, flat.device());
    const at::Tensor before = flat.index_select(0, places);
    flat.index_copy_(0, places, at::where(before < 0, before * penalties, before / penalties));
  }
  Ban(flat, banned_);
  if (!forced_rows_.empty()) {
    scores.index_fill_(0, OnDevice(forced_rows_, at::kLong, flat.device()), kImpossible);
    flat.index_fill_(0, OnDevice(forced_, at::kLong, flat.device()), 0.0f);
  }
  Ban(flat, suppressed_);
}

}  // namespace tenon::engine
