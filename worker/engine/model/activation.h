// Activations between an encoder's wide linear layers. Engine-internal, torch inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "worker/engine/model/activation_kind.h"

namespace tenon::engine {

Activation ParseActivation(const std::string& hidden_act);

at::Tensor Activate(const at::Tensor& x, Activation activation);

}  // namespace tenon::engine
