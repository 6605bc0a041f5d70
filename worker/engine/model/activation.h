// Activations between BERT's wide linear layers. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace tenon::engine {

// Those that formats::ReadBertConfig lets through: gelu is the exact one (erf), gelu_new its tanh form.
enum class Activation { kNone, kGelu, kGeluTanh, kRelu };

Activation ParseActivation(const std::string& hidden_act);

at::Tensor Activate(const at::Tensor& x, Activation activation);

}  // namespace tenon::engine
