#include "worker/engine/model/decode/encode_sources.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <functional>

#include "worker/engine/adapter/mixed.h"
#include "worker/engine/model/decode_attend.h"
#include "worker/engine/model/parallel.h"
#include "worker/engine/row_parts.h"

namespace tenon::engine {
namespace {

using Sources = std::vector<std::shared_ptr<const SourceStates>>;

int64_t VirtualTokens(const DecoderSource& source) {
  return source.adapter == nullptr ? 0 : source.adapter->tensors().virtual_tokens();
}

// With the adapter's virtual ones.
int64_t Tokens(const DecoderSource& source) { return static_cast<int64_t>(source.ids->size()) + VirtualTokens(source); }

// The keys of one source and layer, [tokens, heads * d_kv] -> [heads, TurnedSize].
at::Tensor Turned(const at::Tensor& keys, int64_t heads) {
  const int64_t head_size = keys.size(1) / heads, size = TurnedSize(keys.size(0), head_size);
  at::Tensor turned = at::empty({heads, size}, keys.options());
  for (int64_t head = 0; head < heads; ++head) {
    TurnKeys(keys.const_data_ptr<float>() + head * head_size, keys.stride(0), keys.size(0), head_size,
             turned.mutable_data_ptr<float>() + head * size);
  }
  return turned;
}

// One batch through the encoder: the sources at `places`, of which those with one adapter are neighbours.
void EncodePart(const T5Model& model, absl::Span<const DecoderSource> sources, const RowPart& places,
                Sources& results) {
  const c10::InferenceMode inference;  // of this thread
  std::vector<const std::vector<int32_t>*> ids;
  std::vector<int64_t> virtual_tokens;
  std::vector<AdapterSegment> segments;
  int64_t tokens = 0;
  const DeviceAdapter* last = nullptr;
  for (const size_t place : places) {
    const DecoderSource& source = sources[place];
    if (segments.empty() || source.adapter != last) {
      AdapterSegment segment;
      segment.adapter = source.adapter == nullptr ? nullptr : &source.adapter->tensors();
      segment.first_row = static_cast<int64_t>(ids.size());
      segment.first_token = tokens;
      segments.push_back(segment);
      last = source.adapter;
    }
    ids.push_back(source.ids);
    virtual_tokens.push_back(VirtualTokens(source));
    ++segments.back().rows;
    segments.back().tokens += Tokens(source);
    tokens += Tokens(source);
  }
  const MixedAdapters mixed(std::move(segments));
  const ForwardHooks hooks = mixed.Hooks();
  const PackedBatch batch = Pack(ids, model.device(), /*round_to=*/1, /*grouped=*/!model.own_kernels(), virtual_tokens);
  const std::vector<at::Tensor> layers = model.SourceKeysValues(model.Encode(batch, hooks), hooks);
  const int64_t width = layers[0].size(1) / 2;
  for (size_t i = 0; i < places.size(); ++i) {
    auto states = std::make_shared<SourceStates>();
    states->tokens = Tokens(sources[places[i]]);
    for (const at::Tensor& layer : layers) {
      const at::Tensor lines = layer.narrow(0, batch.offsets[i], states->tokens);
      const at::Tensor keys = lines.narrow(1, 0, width);
      states->keys.push_back(model.own_kernels() ? Turned(keys, model.config().num_heads) : keys.clone());
      states->values.push_back(lines.narrow(1, width, width).clone(at::MemoryFormat::Contiguous));
    }
    results[places[i]] = std::move(states);
  }
}

}  // namespace

std::vector<std::shared_ptr<const SourceStates>> EncodeSources(const T5Model& model,
                                                               absl::Span<const DecoderSource> sources) {
  std::vector<RowSize> sizes;
  for (const DecoderSource& source : sources) sizes.push_back({Tokens(source), source.adapter});
  Sources results(sources.size());
  // In one part the sources stand as they came: an adapter may have several segments.
  const std::vector<RowPart> parts = SplitRows(sizes, model.by_rows() ? at::get_num_threads() : 1);
  if (parts.size() == 1) {
    EncodePart(model, sources, parts[0], results);
    return results;
  }
  std::atomic<size_t> next = 0;
  ParallelFor(std::min<int64_t>(at::get_num_threads(), static_cast<int64_t>(parts.size())), 1, [&](int64_t, int64_t) {
    for (size_t i = next++; i < parts.size(); i = next++) EncodePart(model, sources, parts[i], results);
  });
  return results;
}

}  // namespace tenon::engine
