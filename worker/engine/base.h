// A frozen base model: weights, configuration and tokenizer of one Hugging Face folder. Free of torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/model_config.h"
#include "worker/engine/device.h"
#include "worker/engine/generate/options.h"
#include "worker/engine/generate/plan.h"
#include "worker/engine/text/tokenizer.h"

namespace tenon::formats {
class Safetensors;  // common/formats/safetensors.h
}

namespace tenon::engine {

class CausalModel;     // worker/engine/model/causal/model.h, torch inside
class Decoder;         // worker/engine/generate/decoder.h, torch inside
class Encoder;         // worker/engine/model/encoder.h, torch inside
class EncoderDecoder;  // worker/engine/model/decode/encoder_decoder.h, torch inside
class T5Model;         // worker/engine/model/t5/model.h, torch inside

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
    RunAlone run_alone;                      // for measuring kernels while it loads
  };

  // BASE_INVALID or UNSUPPORTED names the file, key or tensor at fault.
  static absl::StatusOr<std::shared_ptr<const Base>> Load(const std::filesystem::path& folder, const Options& options);
  ~Base();

  // Of a base that only encodes.
  const formats::EncoderConfig& config() const;
  // Labels of its own head, empty where it has none; how its token states become a vector.
  const std::vector<std::string>& labels() const;
  const formats::SentenceConfig& sentence() const;
  const Tokenizer& tokenizer() const;
  const std::string& digest() const;
  const Device& device() const;
  Precision precision() const;
  // Tokens a text is cut to when nobody says otherwise.
  int64_t default_max_tokens() const;
  // Tokens that a row may have at most, virtual ones among them; 0: any number.
  int64_t max_tokens() const;
  // Device bytes of weights, all copies counted.
  int64_t ResidentBytes() const;
  // Numbers in its files of weights.
  int64_t parameters() const;
  // The folder that it was loaded from, whose files must stay, and the weights in it. Engine-internal.
  const std::filesystem::path& folder() const;
  const formats::Safetensors& weights() const;

  // Whether it writes texts: Infer() is for bases that do not, NewDecoder() for those that do.
  bool generates() const;
  // Whether its prompt is the beginning of what it writes: it has a decoder alone.
  bool decoder_only() const;
  // These six are for a base that generates. Its generation_config.json, and what it and this device allow; of a
  // decoder alone `prefix_tokens` is the prompt's affair.
  const GenerationOptions& generation_defaults() const;
  GenerationLimits generation_limits() const;
  // What `Summarize` puts before a text: config.json's task_specific_params.summarization.prefix, else a T5's
  // `summarize: ` and nothing before a BART's.
  const std::string& summary_prefix() const;
  // What config.json's task_specific_params.summarization says of the search (transformers' pipeline takes it, too):
  // before generation_defaults(), behind the request.
  const GenerationOptions& summary_defaults() const;
  // Its tokenizer's other half: texts of ids, and ids of a piece of text.
  const GenerativeTokenizer& generative_tokenizer() const;
  // An empty batch of lines over these weights, in the precision of inference. UNSUPPORTED for a base that only
  // encodes.
  absl::StatusOr<std::unique_ptr<Decoder>> NewDecoder() const;

  // The network in a precision; loads that copy when it is not there. UNSUPPORTED where the base is of the other kind.
  // Engine-internal.
  absl::StatusOr<std::shared_ptr<const Encoder>> encoder(Precision precision) const;
  // Of a base that reads a source and writes a text, whichever family it is of.
  absl::StatusOr<std::shared_ptr<const EncoderDecoder>> encoder_decoder(Precision precision) const;
  // UNSUPPORTED for other families of those, too: training knows T5 alone.
  absl::StatusOr<std::shared_ptr<const T5Model>> t5(Precision precision) const;
  absl::StatusOr<std::shared_ptr<const CausalModel>> causal(Precision precision) const;

 private:
  struct State;
  explicit Base(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace tenon::engine
