#include "worker/engine/model/decode/decoder.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/model/decode/encode_sources.h"
#include "worker/engine/model/decode/line_order.h"
#include "worker/engine/model/decode/line_store.h"

namespace tenon::engine {
namespace {

class SourceDecoder final : public Decoder {
 public:
  explicit SourceDecoder(std::shared_ptr<const EncoderDecoder> model)
      : model_(std::move(model)), attention_(model_->NewStepAttention()) {}

  int64_t vocab_size() const override { return model_->vocab_size(); }
  int64_t lines() const override { return static_cast<int64_t>(store_.lines().size()); }

  absl::Status Join(absl::Span<const DecoderSource> sources) override {
    for (const DecoderSource& source : sources) RETURN_IF_ERROR(CheckSource(source));
    if (sources.empty()) return absl::OkStatus();
    auto states = EncodeSources(*model_, sources);
    for (size_t i = 0; i < sources.size(); ++i) store_.Add(std::move(states[i]), sources[i].adapter);
    order_.Arrange(store_.lines(), model_->device());
    return absl::OkStatus();
  }

  at::Tensor Step(absl::Span<const int32_t> tokens) override {
    TORCH_CHECK(static_cast<int64_t>(tokens.size()) == lines(), "a step has a token for each line");
    store_.Extend();
    std::vector<const StepLine*> states;
    std::vector<int64_t> ids, places;
    for (const int64_t line : order_.order()) {
      states.push_back(&store_.lines()[static_cast<size_t>(line)].state);
      places.push_back(static_cast<int64_t>(states.back()->slots.size()) - 1);
      ids.push_back(tokens[static_cast<size_t>(line)]);
    }
    attention_->Begin(states, store_.slots());
    const at::Tensor last =
        model_->Step(Longs(ids, model_->device()), Longs(places, model_->device()), *attention_, order_.hooks());
    // An adapter's part of the output layer goes by the order of the adapters' lines.
    if (order_.Adapts("lm_head")) return order_.Restored(model_->Output(last, order_.hooks()));
    return model_->Output(order_.Restored(last), ForwardHooks{.inference = true});
  }

  void Select(absl::Span<const int64_t> parents) override {
    store_.Select(parents);
    order_.Arrange(store_.lines(), model_->device());
  }

 private:
  absl::Status CheckSource(const DecoderSource& source) const {
    if (source.ids == nullptr || source.ids->empty()) return TenonError(Reason::kTextEmpty, "a source has no tokens");
    for (const int32_t id : *source.ids) {
      if (id < 0 || id >= vocab_size()) {
        return TenonError(Reason::kFieldInvalid, absl::StrCat("token id ", id, " is not in the vocabulary"));
      }
    }
    const int64_t tokens = SourceTokens(source), most = model_->max_positions();
    if (most > 0 && tokens > most) {
      return TenonError(Reason::kFieldInvalid,
                        absl::StrCat("a source has ", tokens, " tokens, the base takes at most ", most));
    }
    return absl::OkStatus();
  }

  const std::shared_ptr<const EncoderDecoder> model_;
  const std::unique_ptr<StepAttention> attention_;
  LineStore store_;
  LineOrder order_;
};

}  // namespace

std::unique_ptr<Decoder> NewSourceDecoder(std::shared_ptr<const EncoderDecoder> model) {
  return std::make_unique<SourceDecoder>(std::move(model));
}

}  // namespace tenon::engine
