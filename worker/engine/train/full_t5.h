// A T5 whose every weight is trained. Engine-internal, torch inside.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/base.h"
#include "worker/engine/checkpoint/checkpoint.h"
#include "worker/engine/model/t5/model.h"

namespace tenon::engine {

// A network of its own in fp32, apart from the base's, which others use.
absl::StatusOr<std::shared_ptr<const T5Model>> CopyT5(const Base& base);

// All weights of `model`, in its own memory: what is changed in one is changed in the other, and the network follows
// gradients to those that ask for one. Keys are modules' names in a checkpoint; layers that are one product are one
// module here, their names joined by commas in the order of their outputs. An output layer that is the embedding is not
// named again.
std::map<std::string, SavedModule> T5Modules(const T5Model& model);

// Such modules as a checkpoint of transformers' T5ForConditionalGeneration has them, by tensors' names.
NamedTensors T5Tensors(const std::map<std::string, SavedModule>& modules);

}  // namespace tenon::engine
