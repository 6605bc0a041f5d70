// One micro-batch's way through a network, cut into segments that run one after the other. Engine-internal, torch
// inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tenon::engine {

// What a segment computes depends on its inputs and on the parameters of that segment alone (Parameter::segments).
class Segments {
 public:
  virtual ~Segments() = default;

  // Segments 0 .. layers() - 1 make states; segment layers() is the loss.
  virtual int64_t layers() const = 0;
  // Not 0: an encoder of so many segments comes first. What its last one gives is the `source` of every later segment,
  // and the first of those begins with states of its own.
  virtual int64_t source_layers() const { return 0; }

  // States [T, hidden] behind segment `index` from those before it; `x` is undefined where a segment begins, `source`
  // where there is none.
  virtual at::Tensor Layer(int64_t index, const at::Tensor& x, const at::Tensor& source) const = 0;
  // The loss is a sum of so many parts, each bounded work. They share the parameters of segment layers().
  virtual int64_t loss_parts() const { return 1; }
  // Part `part` of the last states, an fp32 scalar.
  virtual at::Tensor Loss(int64_t part, const at::Tensor& x) const = 0;
};

}  // namespace tenon::engine
