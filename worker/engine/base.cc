#include "worker/engine/base.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/formats/safetensors.h"
#include "common/formats/status.h"
#include "worker/engine/model/encoder.h"

namespace tenon::engine {
namespace {

// sentence-transformers' usual limit for bases that do not say theirs: attention beyond it is seldom worth its time.
constexpr int64_t kDefaultMaxTokens = 512;

}  // namespace

struct Base::State {
  formats::BertConfig config;
  std::unique_ptr<const Tokenizer> tokenizer;
  Options options;
  // Stays mapped, so that a second precision can be read later; its pages are the kernel's to drop.
  std::shared_ptr<const formats::Safetensors> weights;
  absl::Mutex loading;  // one at a time; before `mutex`, which nobody holds for long
  absl::Mutex mutex;
  std::map<Precision, std::shared_ptr<const Encoder>> encoders ABSL_GUARDED_BY(mutex);
};

Base::Base(std::unique_ptr<State> state) : state_(std::move(state)) {}
Base::~Base() = default;

absl::StatusOr<std::shared_ptr<const Base>> Base::Load(const std::filesystem::path& folder, const Options& options) {
  auto state = std::make_unique<State>();
  state->options = options;
  ASSIGN_OR_RETURN(state->config, formats::ReadBertConfig(folder));
  ASSIGN_OR_RETURN(state->tokenizer, LoadTokenizer(folder));
  if (state->tokenizer->vocab_size() > state->config.vocab_size) {
    return TenonError(Reason::kBaseInvalid, "the tokenizer has more tokens than config.json's vocab_size",
                      "vocab_size");
  }
  ASSIGN_OR_RETURN(state->weights, formats::Safetensors::OpenModel(folder, formats::Safetensors::Limits{}));
  std::shared_ptr<const Base> base(new Base(std::move(state)));
  RETURN_IF_ERROR(base->encoder(options.precision).status());
  return base;
}

const formats::BertConfig& Base::config() const { return state_->config; }
const Tokenizer& Base::tokenizer() const { return *state_->tokenizer; }
const std::string& Base::digest() const { return state_->options.digest; }
const Device& Base::device() const { return state_->options.device; }
Precision Base::precision() const { return state_->options.precision; }

int64_t Base::default_max_tokens() const {
  const int64_t limit = state_->config.max_position_embeddings;
  const int64_t said = state_->config.sentence.max_seq_length;
  return std::min(limit, said > 0 ? said : kDefaultMaxTokens);
}

int64_t Base::ResidentBytes() const {
  absl::MutexLock lock(&state_->mutex);
  int64_t bytes = 0;
  for (const auto& [precision, encoder] : state_->encoders) bytes += encoder->ResidentBytes();
  return bytes;
}

absl::StatusOr<std::shared_ptr<const Encoder>> Base::encoder(Precision precision) const {
  const auto find = [&]() -> std::shared_ptr<const Encoder> {
    absl::MutexLock lock(&state_->mutex);
    const auto found = state_->encoders.find(precision);
    return found == state_->encoders.end() ? nullptr : found->second;
  };
  if (auto encoder = find()) return encoder;
  // Serving in one precision must not wait while a job loads another.
  absl::MutexLock loading(&state_->loading);
  if (auto encoder = find()) return encoder;
  ASSIGN_OR_RETURN(std::shared_ptr<const Encoder> encoder,
                   Encoder::Load(state_->config, *state_->weights, state_->options.device, precision,
                                 /*prepare_inference=*/precision == state_->options.precision));
  state_->weights->DropPages();
  absl::MutexLock lock(&state_->mutex);
  state_->encoders[precision] = encoder;
  return encoder;
}

}  // namespace tenon::engine
