#include "worker/engine/model/causal/decoder.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/adapter/mixed.h"
#include "worker/engine/model/decode/line_order.h"
#include "worker/engine/model/decode/line_store.h"

namespace tenon::engine {
namespace {

int64_t VirtualTokens(const DecoderSource& source) {
  return source.adapter == nullptr ? 0 : source.adapter->tensors().virtual_tokens();
}

// With the adapter's virtual ones.
int64_t Tokens(const DecoderSource& source) { return static_cast<int64_t>(source.ids->size()) + VirtualTokens(source); }

// Sources that have tokens, as one batch: those of one adapter that are neighbours share a segment.
struct Prompts {
  std::vector<const std::vector<int32_t>*> ids;
  std::vector<int64_t> virtual_tokens;
  std::vector<AdapterSegment> segments;
  int64_t tokens = 0;

  void Add(const DecoderSource& source) {
    const AdapterTensors* adapter = source.adapter == nullptr ? nullptr : &source.adapter->tensors();
    if (segments.empty() || segments.back().adapter != adapter) {
      segments.push_back({.adapter = adapter, .first_row = static_cast<int64_t>(ids.size()), .first_token = tokens});
    }
    ids.push_back(source.ids);
    virtual_tokens.push_back(VirtualTokens(source));
    ++segments.back().rows;
    segments.back().tokens += Tokens(source);
    tokens += Tokens(source);
  }
};

class CausalDecoder final : public Decoder {
 public:
  explicit CausalDecoder(std::shared_ptr<const CausalModel> model)
      : model_(std::move(model)), attention_(model_->NewStepAttention()) {}

  int64_t vocab_size() const override { return model_->config().vocab_size; }
  int64_t lines() const override { return static_cast<int64_t>(store_.lines().size()); }

  absl::Status Join(absl::Span<const DecoderSource> sources) override {
    for (const DecoderSource& source : sources) RETURN_IF_ERROR(CheckSource(source));
    if (sources.empty()) return absl::OkStatus();
    const int64_t before = lines();
    try {
      Read(sources);
    } catch (...) {
      DropFrom(before);  // on an error nothing was appended
      throw;
    }
    order_.Arrange(store_.lines(), model_->device());
    return absl::OkStatus();
  }

  at::Tensor Step(absl::Span<const int32_t> tokens) override {
    TORCH_CHECK(static_cast<int64_t>(tokens.size()) == lines(), "a step has a token for each line");
    store_.Extend();
    std::vector<const StepLine*> states;
    std::vector<int64_t> ids, positions;
    for (const int64_t line : order_.order()) {
      states.push_back(&store_.lines()[static_cast<size_t>(line)].state);
      ids.push_back(tokens[static_cast<size_t>(line)]);
      positions.push_back(static_cast<int64_t>(states.back()->slots.size()) - 1);
    }
    attention_->Begin(states, store_.slots());
    const at::Tensor last =
        model_->Step(Longs(ids, model_->device()), Longs(positions, model_->device()), *attention_, order_.hooks());
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
    if (source.ids == nullptr) return TenonError(Reason::kInternal, "a source without ids");
    for (const int32_t id : *source.ids) {
      if (id < 0 || id >= vocab_size()) {
        return TenonError(Reason::kFieldInvalid, absl::StrCat("token id ", id, " is not in the vocabulary"));
      }
    }
    const int64_t most = model_->config().max_tokens;
    if (Tokens(source) < most) return absl::OkStatus();
    return TenonError(Reason::kFieldInvalid,
                      absl::StrCat("a prompt of ", Tokens(source) + 1, " tokens; the base has ", most, " positions"));
  }

  void Read(absl::Span<const DecoderSource> sources) {
    Prompts prompts;
    std::vector<int32_t> slots;
    for (const DecoderSource& source : sources) {
      store_.Add(nullptr, source.adapter, Tokens(source));
      if (Tokens(source) == 0) continue;
      const std::vector<int32_t>& own = store_.lines().back().state.slots;
      slots.insert(slots.end(), own.begin(), own.end());
      prompts.Add(source);
    }
    if (prompts.ids.empty()) return;
    const MixedAdapters mixed(std::move(prompts.segments));
    const PackedBatch batch =
        Pack(prompts.ids, model_->device(), /*round_to=*/1, /*grouped=*/!model_->own_kernels(), prompts.virtual_tokens);
    model_->Read(batch, slots, store_.slots(), *attention_, mixed.Hooks());
  }

  void DropFrom(int64_t line) {
    std::vector<int64_t> others;
    for (int64_t i = 0; i < line; ++i) others.push_back(i);
    store_.Select(others);
  }

  const std::shared_ptr<const CausalModel> model_;
  const std::unique_ptr<StepAttention> attention_;
  LineStore store_;
  LineOrder order_;
};

}  // namespace

std::unique_ptr<Decoder> NewCausalDecoder(std::shared_ptr<const CausalModel> model) {
  return std::make_unique<CausalDecoder>(std::move(model));
}

}  // namespace tenon::engine
