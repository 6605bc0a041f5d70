// A frozen base model: weights, configuration and tokenizer of one Hugging Face folder. Free of torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/formats/model_config.h"
#include "worker/engine/device.h"
#include "worker/engine/text/tokenizer.h"

namespace tenon::engine {

class Encoder;  // worker/engine/model/encoder.h, torch inside

// Immutable and shared by all adapters, requests and jobs on a device; safe from any thread.
//
// Memory: one plain copy of the weights in each precision that was asked for, and at most one packed copy for fast CPU
// products. Training in a precision that is not loaded adds that copy at most once (encoder()).
class Base {
 public:
  struct Options {
    Device device;
    Precision precision = Precision::kFp32;  // of inference
    std::string digest;                      // what adapters must be bound to
  };

  // BASE_INVALID or UNSUPPORTED names the file, key or tensor at fault.
  static absl::StatusOr<std::shared_ptr<const Base>> Load(const std::filesystem::path& folder, const Options& options);
  ~Base();

  const formats::BertConfig& config() const;
  const Tokenizer& tokenizer() const;
  const std::string& digest() const;
  const Device& device() const;
  Precision precision() const;
  // Tokens a text is cut to when nobody says otherwise.
  int64_t default_max_tokens() const;
  // Device bytes of weights, all copies counted.
  int64_t ResidentBytes() const;

  // The network in a precision; loads that copy when it is not there. Engine-internal.
  absl::StatusOr<std::shared_ptr<const Encoder>> encoder(Precision precision) const;

 private:
  struct State;
  explicit Base(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace tenon::engine
