#include "worker/engine/model/decode/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/adapter/mixed.h"
#include "worker/engine/model/decode/encode_sources.h"
#include "worker/engine/model/decode/line_store.h"

namespace tenon::engine {
namespace {

template <typename Number>
at::Tensor Longs(const std::vector<Number>& numbers, at::Device device) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(numbers.size())}, at::TensorOptions().dtype(at::kLong));
  std::copy(numbers.begin(), numbers.end(), tensor.mutable_data_ptr<int64_t>());
  return tensor.to(device);
}

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
    Arrange();
    return absl::OkStatus();
  }

  at::Tensor Step(absl::Span<const int32_t> tokens) override {
    TORCH_CHECK(static_cast<int64_t>(tokens.size()) == lines(), "a step has a token for each line");
    store_.Extend();
    std::vector<const StepLine*> states;
    std::vector<int32_t> ids;
    std::vector<int64_t> places;
    for (const int64_t line : order_) {
      states.push_back(&store_.lines()[static_cast<size_t>(line)].state);
      places.push_back(static_cast<int64_t>(states.back()->slots.size()) - 1);
      ids.push_back(tokens[static_cast<size_t>(line)]);
    }
    attention_->Begin(states, store_.slots());
    at::Tensor last = model_->Step(Longs(ids, model_->device()), Longs(places, model_->device()), *attention_, hooks_);
    if (!places_.defined()) return model_->Output(last, hooks_);
    // An adapter's part of the output layer goes by the order of the adapters' lines.
    const bool adapted = mixed_->Has("lm_head");
    if (!adapted) last = last.index_select(0, places_);
    const at::Tensor logits = model_->Output(last, adapted ? hooks_ : ForwardHooks{.inference = true});
    return adapted ? logits.index_select(0, places_) : logits;
  }

  void Select(absl::Span<const int64_t> parents) override {
    store_.Select(parents);
    Arrange();
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

  // Puts the lines of each adapter side by side, so that its part of a layer is few products. A line's results do not
  // depend on it.
  void Arrange() {
    std::vector<const DeviceAdapter*> adapters;
    for (const LineStore::Line& line : store_.lines()) adapters.push_back(line.adapter);
    if (adapters == adapters_ && mixed_ != nullptr) return;
    adapters_ = std::move(adapters);
    std::map<const DeviceAdapter*, size_t> seen;
    std::vector<size_t> rank;
    for (const DeviceAdapter* adapter : adapters_) rank.push_back(seen.emplace(adapter, seen.size()).first->second);
    order_.resize(adapters_.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(),
                     [&](int64_t a, int64_t b) { return rank[static_cast<size_t>(a)] < rank[static_cast<size_t>(b)]; });
    std::vector<int64_t> places(order_.size());
    std::vector<AdapterSegment> segments;
    for (size_t i = 0; i < order_.size(); ++i) {
      const auto line = static_cast<size_t>(order_[i]);
      places[line] = static_cast<int64_t>(i);
      if (i == 0 || adapters_[line] != adapters_[static_cast<size_t>(order_[i - 1])]) {
        const DeviceAdapter* adapter = adapters_[line];
        segments.push_back(
            {.adapter = adapter == nullptr ? nullptr : &adapter->tensors(), .first_row = static_cast<int64_t>(i)});
      }
      ++segments.back().rows;
    }
    places_ = std::is_sorted(order_.begin(), order_.end()) ? at::Tensor() : Longs(places, model_->device());
    mixed_ = std::make_unique<const MixedAdapters>(std::move(segments));
    hooks_ = mixed_->Hooks();
  }

  const std::shared_ptr<const EncoderDecoder> model_;
  const std::unique_ptr<StepAttention> attention_;
  LineStore store_;
  std::vector<const DeviceAdapter*> adapters_;  // of each line
  std::vector<int64_t> order_;                  // lines as the layers see them
  at::Tensor places_;                           // [lines] int64: a line's place there; undefined when it is its own
  std::unique_ptr<const MixedAdapters> mixed_;
  ForwardHooks hooks_;
};

}  // namespace

std::unique_ptr<Decoder> NewSourceDecoder(std::shared_ptr<const EncoderDecoder> model) {
  return std::make_unique<SourceDecoder>(std::move(model));
}

}  // namespace tenon::engine
