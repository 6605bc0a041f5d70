// A decoder for the fake base: the toy model, whose replies end by themselves.
#include "tests/worker/engine/generate/toy_decoder.h"
#include "worker/engine/base.h"

namespace tenon::engine {

absl::StatusOr<std::unique_ptr<Decoder>> Base::NewDecoder() const {
  return std::make_unique<ToyDecoder>(ToyModel::Seeded(48, 3, 3, 1.5f));
}

}  // namespace tenon::engine
