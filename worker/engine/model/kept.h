// What a differentiable function's forward pass leaves for its backward pass, as one plain struct. Engine-internal,
// torch inside.
#pragma once

#include <torch/csrc/autograd/custom_function.h>

#include <utility>

namespace tenon::engine {

// Must not hold an output of the function itself: they would keep each other alive.
template <typename Value>
struct KeptValue : torch::CustomClassHolder {
  Value value;
};

template <typename Value>
void Keep(torch::autograd::AutogradContext* context, Value value) {
  auto holder = c10::make_intrusive<KeptValue<Value>>();
  holder->value = std::move(value);
  context->saved_data["kept"] = at::IValue::make_capsule(std::move(holder));
}

template <typename Value>
Value& Kept(torch::autograd::AutogradContext* context) {
  return static_cast<KeptValue<Value>*>(context->saved_data.at("kept").toCapsule().get())->value;
}

}  // namespace tenon::engine
