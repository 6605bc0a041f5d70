// Our own product of states with a frozen weight, on the CPU. Free of torch and of threads.
#pragma once

#include <cstdint>
#include <memory>

#include "worker/engine/model/activation_kind.h"

namespace tenon::engine {

// What the numbers of lines and weights are; sums, biases and results are fp32.
enum class PanelFormat { kFp32, kBf16 };

// A weight [out, in] cut into panels of 32 outputs, each read from start to end, and its bias. Immutable once packed.
//
// A line's result depends on that line alone, bit for bit: every sum runs over the inputs in their order, whatever the
// number of lines. No size needs a kernel of its own.
class PanelWeight {
 public:
  static constexpr int64_t kWidth = 32;

  // Whether this processor has the instructions (AVX-512, AVX512-BF16); nothing else may be called where it has not.
  static bool Supported(PanelFormat format = PanelFormat::kFp32);

  PanelWeight() = default;
  // weight [out, in], rounded to the format; bias [out] or nullptr.
  PanelWeight(const float* weight, const float* bias, int64_t out, int64_t in, PanelFormat format = PanelFormat::kFp32);

  bool defined() const { return data_ != nullptr; }
  PanelFormat format() const { return format_; }
  int64_t in() const { return in_; }
  int64_t out() const { return out_; }
  int64_t panels() const { return (out_ + kWidth - 1) / kWidth; }
  // Numbers of a line of inputs: in(), in bf16 an even one; what is beyond in() must be 0.
  int64_t line_size() const;
  int64_t Bytes() const;

  // y = activation(x W^T + b) for outputs of panels [first, last); x [lines, line_size()], y [lines, these outputs],
  // `x_stride` and `y_stride` numbers from line to line. The first is for kFp32.
  void Multiply(const float* x, int64_t x_stride, int64_t lines, Activation activation, int64_t first, int64_t last,
                float* y, int64_t y_stride) const;
  // For kBf16: lines that Round made.
  void Multiply(const uint16_t* x, int64_t x_stride, int64_t lines, Activation activation, int64_t first, int64_t last,
                float* y, int64_t y_stride) const;
  // x [lines, in()] -> y [lines, line_size()] without gaps, for kBf16.
  void Round(const float* x, int64_t x_stride, int64_t lines, uint16_t* y) const;

 private:
  struct Free {
    void operator()(void* data) const;
  };
  int64_t PanelBytes() const;
  const float* Bias(int64_t panel) const;

  int64_t out_ = 0, in_ = 0;
  PanelFormat format_ = PanelFormat::kFp32;
  std::unique_ptr<char[], Free> data_;  // panels, then the bias, both padded with zeros to whole panels
};

}  // namespace tenon::engine
