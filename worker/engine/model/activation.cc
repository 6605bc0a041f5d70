#include "worker/engine/model/activation.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>

namespace tenon::engine {

Activation ParseActivation(const std::string& hidden_act) {
  if (hidden_act == "relu") return Activation::kRelu;
  return hidden_act == "gelu" ? Activation::kGelu : Activation::kGeluTanh;
}

at::Tensor Activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGelu:
      return at::gelu(x, "none");
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kRelu:
      return at::relu(x);
  }
  return x;
}

}  // namespace tenon::engine
