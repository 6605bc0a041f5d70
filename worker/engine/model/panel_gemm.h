// Our own product of states with a frozen weight, on the CPU. Free of torch and of threads.
#pragma once

#include <cstdint>
#include <memory>

#include "worker/engine/model/activation_kind.h"

namespace tenon::engine {

// A weight [out, in] cut into panels of 32 outputs, each [in, 32] and read from start to end, and its bias; fp32.
// Immutable once packed.
//
// A line's result depends on that line alone, bit for bit: every sum runs over the inputs in their order, whatever the
// number of lines. No size needs a kernel of its own.
class PanelWeight {
 public:
  static constexpr int64_t kWidth = 32;

  // Whether this processor has the instructions (AVX-512); nothing else may be called where it has not.
  static bool Supported();

  PanelWeight() = default;
  // weight [out, in], bias [out] or nullptr.
  PanelWeight(const float* weight, const float* bias, int64_t out, int64_t in);

  bool defined() const { return data_ != nullptr; }
  int64_t in() const { return in_; }
  int64_t out() const { return out_; }
  int64_t panels() const { return (out_ + kWidth - 1) / kWidth; }
  int64_t Bytes() const;

  // y = activation(x W^T + b) for outputs of panels [first, last); x [lines, in], y [lines, these outputs], `x_stride`
  // and `y_stride` floats from line to line.
  void Multiply(const float* x, int64_t x_stride, int64_t lines, Activation activation, int64_t first, int64_t last,
                float* y, int64_t y_stride) const;

 private:
  struct Free {
    void operator()(float* data) const;
  };
  int64_t out_ = 0, in_ = 0;
  std::unique_ptr<float[], Free> data_;  // panels, then the bias, both padded with zeros to whole panels
};

}  // namespace tenon::engine
