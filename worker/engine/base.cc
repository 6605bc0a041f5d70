#include "worker/engine/base.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <utility>

#include "common/formats/base_config.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "worker/engine/generate/decoder.h"
#include "worker/engine/generate/generation_config.h"
#include "worker/engine/model/bart/model.h"
#include "worker/engine/model/causal/decoder.h"
#include "worker/engine/model/causal/model.h"
#include "worker/engine/model/decode/decoder.h"
#include "worker/engine/model/encoder.h"
#include "worker/engine/model/t5/model.h"
#include "worker/engine/precision_copies.h"

namespace tenon::engine {
namespace {

// sentence-transformers' usual limit for bases that do not say theirs: attention beyond it is seldom worth its time. T5
// was trained on as many.
constexpr int64_t kDefaultMaxTokens = 512;

}  // namespace

struct Base::State {
  Options options;
  std::filesystem::path folder;
  // Stays mapped, so that a second precision can be read later; its pages are the kernel's to drop.
  std::shared_ptr<const formats::Safetensors> weights;

  // A base that only encodes.
  formats::EncoderConfig encoder;
  std::unique_ptr<const Tokenizer> tokenizer;
  PrecisionCopies<Encoder> encoders;

  // One that generates: then `generative` is there, and one of the two configurations is read.
  formats::T5Config t5;
  formats::BartConfig bart;
  std::unique_ptr<const GenerativeTokenizer> generative;
  GenerationOptions generation, summary;
  std::string summary_prefix;
  PrecisionCopies<T5Model> models;
  PrecisionCopies<BartModel> barts;
  // One that does so by a decoder alone: its family is there.
  formats::CausalConfig causal;
  PrecisionCopies<CausalModel> causal_models;

  absl::Status Read(const std::filesystem::path& folder);
  bool is_bart() const { return !bart.model_type.empty(); }
  bool is_causal() const { return causal.family != nullptr; }
  int64_t vocab_size() const { return is_causal() ? causal.vocab_size : is_bart() ? bart.vocab_size : t5.vocab_size; }
  // `decoder_start` is config.json's, or nothing for a decoder alone.
  absl::Status ReadWriter(const std::filesystem::path& folder, std::optional<int64_t> decoder_start);
  absl::Status CheckVocabulary(const Tokenizer& of, int64_t vocab_size) const;
  // Memory that loading needed for a while: pages of the file, and what malloc keeps of freed copies.
  void GiveBack() const;
};

Base::Base(std::unique_ptr<State> state) : state_(std::move(state)) {}
Base::~Base() = default;

absl::Status Base::State::CheckVocabulary(const Tokenizer& of, int64_t vocab_size) const {
  if (of.vocab_size() <= vocab_size) return absl::OkStatus();
  return TenonError(Reason::kBaseInvalid, "the tokenizer has more tokens than config.json's vocab_size", "vocab_size");
}

void Base::State::GiveBack() const {
  weights->DropPages();
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

absl::Status Base::State::ReadWriter(const std::filesystem::path& folder, std::optional<int64_t> decoder_start) {
  ASSIGN_OR_RETURN(generative, LoadGenerativeTokenizer(folder));
  ASSIGN_OR_RETURN(generation, ReadGenerationConfig(folder));
  if (!generation.decoder_start_token_id && decoder_start.has_value()) {
    generation.decoder_start_token_id = static_cast<int32_t>(*decoder_start);
  }
  ASSIGN_OR_RETURN(summary, ReadTaskConfig(folder, "summarization"));
  return CheckVocabulary(*generative, vocab_size());
}

absl::Status Base::State::Read(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(formats::BaseConfig config, formats::ReadBaseConfig(folder));
  if (auto* family = std::get_if<formats::T5Config>(&config)) {
    t5 = std::move(*family);
    summary_prefix = t5.summary_prefix;
    RETURN_IF_ERROR(ReadWriter(folder, t5.decoder_start_token_id));
  } else if (auto* other = std::get_if<formats::BartConfig>(&config)) {
    bart = std::move(*other);
    summary_prefix = bart.summary_prefix;
    RETURN_IF_ERROR(ReadWriter(folder, bart.decoder_start_token_id));
  } else if (auto* decoder = std::get_if<formats::CausalConfig>(&config)) {
    causal = std::move(*decoder);
    RETURN_IF_ERROR(ReadWriter(folder, std::nullopt));
  } else {
    encoder = std::get<formats::EncoderConfig>(std::move(config));
    ASSIGN_OR_RETURN(tokenizer, LoadTokenizer(folder));
    RETURN_IF_ERROR(CheckVocabulary(*tokenizer, encoder.vocab_size));
  }
  ASSIGN_OR_RETURN(weights, formats::Safetensors::OpenModel(folder, formats::Safetensors::Limits{}));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Base>> Base::Load(const std::filesystem::path& folder, const Options& options) {
  auto state = std::make_unique<State>();
  state->options = options;
  state->folder = folder;
  RETURN_IF_ERROR(state->Read(folder));
  std::shared_ptr<const Base> base(new Base(std::move(state)));
  RETURN_IF_ERROR(base->decoder_only() ? base->causal(options.precision).status()
                  : base->generates()  ? base->encoder_decoder(options.precision).status()
                                       : base->encoder(options.precision).status());
  return base;
}

const formats::EncoderConfig& Base::config() const { return state_->encoder; }
const std::vector<std::string>& Base::labels() const { return state_->encoder.labels; }
const formats::SentenceConfig& Base::sentence() const { return state_->encoder.sentence; }
const Tokenizer& Base::tokenizer() const { return generates() ? *state_->generative : *state_->tokenizer; }
const std::string& Base::digest() const { return state_->options.digest; }
const Device& Base::device() const { return state_->options.device; }
Precision Base::precision() const { return state_->options.precision; }

int64_t Base::default_max_tokens() const {
  if (generates() && max_tokens() == 0) return kDefaultMaxTokens;
  if (generates()) return max_tokens();
  const int64_t limit = max_tokens();
  const int64_t said = state_->encoder.sentence.max_seq_length;
  return std::min(limit, said > 0 ? said : kDefaultMaxTokens);
}

int64_t Base::max_tokens() const {
  if (decoder_only()) return state_->causal.max_tokens;
  if (generates()) return state_->bart.max_positions;  // a T5's positions are relative
  return state_->encoder.max_tokens();
}

int64_t Base::ResidentBytes() const {
  return state_->encoders.ResidentBytes() + state_->models.ResidentBytes() + state_->barts.ResidentBytes() +
         state_->causal_models.ResidentBytes();
}

int64_t Base::parameters() const {
  int64_t count = 0;
  for (const auto& [name, view] : state_->weights->tensors()) {
    count += std::accumulate(view.shape.begin(), view.shape.end(), int64_t{1}, std::multiplies<>());
  }
  return count;
}

const std::filesystem::path& Base::folder() const { return state_->folder; }
const formats::Safetensors& Base::weights() const { return *state_->weights; }

bool Base::generates() const { return state_->generative != nullptr; }
bool Base::decoder_only() const { return state_->is_causal(); }
const GenerationOptions& Base::generation_defaults() const { return state_->generation; }
const std::string& Base::summary_prefix() const { return state_->summary_prefix; }
const GenerationOptions& Base::summary_defaults() const { return state_->summary; }
const GenerativeTokenizer& Base::generative_tokenizer() const { return *state_->generative; }

GenerationLimits Base::generation_limits() const {
  GenerationLimits limits;
  limits.vocab_size = state_->vocab_size();
  limits.prefix_tokens = 1;
  limits.max_positions = max_tokens();
  return limits;
}

absl::StatusOr<std::unique_ptr<Decoder>> Base::NewDecoder() const {
  if (decoder_only()) {
    ASSIGN_OR_RETURN(std::shared_ptr<const CausalModel> model, causal(precision()));
    return NewCausalDecoder(std::move(model));
  }
  ASSIGN_OR_RETURN(std::shared_ptr<const EncoderDecoder> model, encoder_decoder(precision()));
  return NewSourceDecoder(std::move(model));
}

absl::StatusOr<std::shared_ptr<const Encoder>> Base::encoder(Precision precision) const {
  if (generates()) return TenonError(Reason::kUnsupported, "the base writes texts; it has no vectors and no labels");
  return state_->encoders.Get(precision, [&]() -> absl::StatusOr<std::shared_ptr<const Encoder>> {
    ASSIGN_OR_RETURN(
        std::shared_ptr<const Encoder> encoder,
        Encoder::Load(state_->encoder, *state_->weights, state_->options.device, precision,
                      /*prepare_inference=*/precision == state_->options.precision, state_->options.run_alone));
    state_->GiveBack();
    return encoder;
  });
}

absl::StatusOr<std::shared_ptr<const EncoderDecoder>> Base::encoder_decoder(Precision precision) const {
  if (!state_->is_bart()) {  // says what is wrong of any other
    ASSIGN_OR_RETURN(std::shared_ptr<const EncoderDecoder> model, t5(precision));
    return model;
  }
  ASSIGN_OR_RETURN(std::shared_ptr<const EncoderDecoder> model,
                   state_->barts.Get(precision, [&]() -> absl::StatusOr<std::shared_ptr<const BartModel>> {
                     ASSIGN_OR_RETURN(std::shared_ptr<const BartModel> bart,
                                      BartModel::Load(state_->bart, *state_->weights, state_->options.device, precision,
                                                      /*prepare_inference=*/precision == state_->options.precision,
                                                      state_->options.run_alone));
                     state_->GiveBack();
                     return bart;
                   }));
  return model;
}

absl::StatusOr<std::shared_ptr<const T5Model>> Base::t5(Precision precision) const {
  if (!generates()) return TenonError(Reason::kUnsupported, "the base only encodes: it writes no texts");
  if (state_->is_bart()) {
    return TenonError(Reason::kUnsupported, "a base of model type bart is not trained; it serves, with adapters, too");
  }
  if (decoder_only()) return TenonError(Reason::kUnsupported, "the base has a decoder alone: it reads no source");
  return state_->models.Get(precision, [&]() -> absl::StatusOr<std::shared_ptr<const T5Model>> {
    ASSIGN_OR_RETURN(
        std::shared_ptr<const T5Model> model,
        T5Model::Load(state_->t5, *state_->weights, state_->options.device, precision,
                      /*prepare_inference=*/precision == state_->options.precision, state_->options.run_alone));
    state_->GiveBack();
    return model;
  });
}

absl::StatusOr<std::shared_ptr<const CausalModel>> Base::causal(Precision precision) const {
  if (!decoder_only()) return TenonError(Reason::kUnsupported, "the base is more than a decoder");
  return state_->causal_models.Get(precision, [&]() -> absl::StatusOr<std::shared_ptr<const CausalModel>> {
    ASSIGN_OR_RETURN(
        std::shared_ptr<const CausalModel> model,
        CausalModel::Load(state_->causal, *state_->weights, state_->options.device, precision,
                          /*prepare_inference=*/precision == state_->options.precision, state_->options.run_alone));
    state_->GiveBack();
    return model;
  });
}

}  // namespace tenon::engine
