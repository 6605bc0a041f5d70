// Activations between an encoder's wide linear layers. Free of torch.
#pragma once

namespace tenon::engine {

// Those that formats::ReadEncoderConfig lets through: gelu is the exact one (erf), gelu_new its tanh form.
enum class Activation { kNone, kGelu, kGeluTanh, kRelu };

}  // namespace tenon::engine
