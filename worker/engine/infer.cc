#include "worker/engine/infer.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/adapter/mixed.h"
#include "worker/engine/generate/decoder.h"
#include "worker/engine/model/encoder.h"
#include "worker/engine/model/packed_batch.h"
#include "worker/engine/model/parallel.h"
#include "worker/engine/model/torch_util.h"
#include "worker/engine/row_parts.h"

namespace tenon::engine {
namespace {

bool WantsTokens(const InferRow& row) { return row.output == Output::kTokenLogits; }
bool WantsLabels(const InferRow& row) { return row.output == Output::kLogits || row.output == Output::kProbabilities; }
bool WantsVector(const InferRow& row) { return row.output == Output::kEmbedding; }

// A linear probe reads sentence vectors, everything else what Encoder::Pool gives.
bool IsHead(const AdapterTensors& adapter) { return adapter.config.method == "head"; }

// Whether a row needs nothing of the encoder but Encoder::Pool.
bool ReadsPooler(const InferRow& row) {
  return WantsLabels(row) && (row.adapter == nullptr || !IsHead(row.adapter->tensors()));
}

// With the adapter's virtual ones.
int64_t Tokens(const InferRow& row) {
  const int64_t virtual_tokens = row.adapter == nullptr ? 0 : row.adapter->tensors().virtual_tokens();
  return static_cast<int64_t>(row.ids->size()) + virtual_tokens;
}

// Whether the row's model has a head, on every token or on rows as it asks for.
bool HasHead(const InferRow& row, const Encoder& encoder) {
  const auto fits = [&](formats::HeadKind kind) { return (kind == formats::HeadKind::kSequence) == WantsLabels(row); };
  const bool base = encoder.has_classifier() && fits(encoder.config().head_kind);
  if (row.adapter == nullptr) return base;
  const AdapterTensors& adapter = row.adapter->tensors();
  const formats::HeadKind kind = formats::HeadOfTask(adapter.config.task);
  if (adapter.modules.count(formats::kClassifier) > 0) return fits(kind);
  // An adapter made for labels without a head of its own uses the base's.
  return adapter.config.task == formats::TaskOfHead(kind) && fits(kind) && base;
}

absl::Status CheckRow(const InferRow& row, const Encoder& encoder, size_t index) {
  const formats::EncoderConfig& config = encoder.config();
  const std::string field = absl::StrCat("rows[", index, "]");
  if (row.ids == nullptr || row.ids->empty()) return TenonError(Reason::kTextEmpty, "a row has no tokens", field);
  if (const int64_t tokens = Tokens(row); tokens > config.max_tokens()) {
    return TenonError(Reason::kFieldInvalid,
                      absl::StrCat("a row has ", tokens, " tokens, the base takes at most ", config.max_tokens()),
                      field);
  }
  if (row.second_type < static_cast<int64_t>(row.ids->size()) && config.one_type()) return formats::OneTypeError(field);
  for (const int32_t id : *row.ids) {
    if (id < 0 || id >= config.vocab_size) {
      return TenonError(Reason::kFieldInvalid, absl::StrCat("token id ", id, " is not in the vocabulary"), field);
    }
  }
  if (!WantsVector(row) && !HasHead(row, encoder)) {
    return TenonError(Reason::kNoClassifier,
                      absl::StrCat(row.adapter == nullptr ? "the base" : "the adapter",
                                   WantsTokens(row) ? " has no head on every token" : " has no classification head"),
                      field);
  }
  return absl::OkStatus();
}

// One batch on its way: rows in an order in which every adapter's are neighbours.
class Batch {
 public:
  Batch(const Encoder& encoder, absl::Span<const InferRow> rows)
      : encoder_(encoder), rows_(rows), results_(rows.size()) {
    Order();
  }

  // Result of each row, in the caller's order.
  std::vector<std::vector<float>> Run();

 private:
  void Order();
  void Forward();
  void StoreLabels(const AdapterSegment& segment);
  void StoreTokens(const AdapterSegment& segment);
  void StoreVectors();
  at::Tensor SegmentLogits(const AdapterSegment& segment);
  // What the head's output layer makes of lines of a segment.
  at::Tensor HeadOf(const AdapterSegment& segment, const at::Tensor& lines) const;
  // Vectors of all rows, [R, size] fp32; computed once for each way of pooling.
  const at::Tensor& Vectors(formats::Pooling pooling, bool normalize);

  const InferRow& At(int64_t place) const { return rows_[order_[static_cast<size_t>(place)]]; }
  void Store(int64_t place, const at::Tensor& host_values);

  const Encoder& encoder_;
  const absl::Span<const InferRow> rows_;
  std::vector<std::vector<float>> results_;
  std::vector<size_t> order_;  // place in the batch -> place in the caller's rows
  std::vector<AdapterSegment> segments_;
  PackedBatch packed_;
  at::Tensor states_;  // [T, hidden]; undefined when everybody reads the pooler
  at::Tensor pooled_;  // [R, hidden] fp32, of Encoder::Pool; undefined when nobody reads it
  std::map<std::pair<formats::Pooling, bool>, at::Tensor> vectors_;
};

void Batch::Order() {
  // By first appearance, so that the same rows give the same batch.
  std::map<const DeviceAdapter*, size_t> seen;
  std::vector<std::vector<size_t>> members;
  for (size_t i = 0; i < rows_.size(); ++i) {
    const auto [place, added] = seen.emplace(rows_[i].adapter, members.size());
    if (added) members.emplace_back();
    members[place->second].push_back(i);
  }
  std::vector<const std::vector<int32_t>*> ids;
  std::vector<int64_t> virtual_tokens, second_types;
  int64_t tokens = 0;
  for (const std::vector<size_t>& group : members) {
    const DeviceAdapter* adapter = rows_[group.front()].adapter;
    AdapterSegment segment;
    segment.adapter = adapter == nullptr ? nullptr : &adapter->tensors();
    segment.first_row = static_cast<int64_t>(order_.size());
    segment.rows = static_cast<int64_t>(group.size());
    segment.first_token = tokens;
    for (const size_t row : group) {
      order_.push_back(row);
      ids.push_back(rows_[row].ids);
      second_types.push_back(rows_[row].second_type);
      virtual_tokens.push_back(segment.adapter == nullptr ? 0 : segment.adapter->virtual_tokens());
      tokens += Tokens(rows_[row]);
    }
    segment.tokens = tokens - segment.first_token;
    segments_.push_back(segment);
  }
  packed_ = Pack(ids, encoder_.device(), encoder_.RoundTokens(tokens),
                 /*grouped=*/!encoder_.by_rows(), virtual_tokens, second_types);
}

void Batch::Forward() {
  const MixedAdapters mixed(segments_);
  const ForwardHooks hooks = mixed.Hooks();
  const int64_t last = encoder_.config().num_hidden_layers - 1;
  states_ = encoder_.Embed(packed_, hooks);
  for (int64_t i = 0; i < last; ++i) states_ = encoder_.Layer(i, states_, packed_, hooks, Lines::kTokens);
  at::Tensor first;
  if (std::all_of(rows_.begin(), rows_.end(), ReadsPooler)) {
    first = encoder_.Layer(last, std::exchange(states_, {}), packed_, hooks, Lines::kRows);
  } else {
    states_ = encoder_.Layer(last, states_, packed_, hooks, Lines::kTokens);
    if (std::any_of(rows_.begin(), rows_.end(), ReadsPooler)) first = FirstTokens(states_, packed_);
  }
  if (first.defined()) pooled_ = encoder_.Pool(first, hooks).to(at::kFloat);
}

std::vector<std::vector<float>> Batch::Run() {
  Forward();
  for (const AdapterSegment& segment : segments_) {
    StoreLabels(segment);
    StoreTokens(segment);
  }
  StoreVectors();
  return std::move(results_);
}

at::Tensor Batch::SegmentLogits(const AdapterSegment& segment) {
  const AdapterTensors* adapter = segment.adapter;
  const at::Tensor& features =
      adapter != nullptr && IsHead(*adapter) ? Vectors(adapter->config.pooling, adapter->config.normalize) : pooled_;
  return HeadOf(segment, features.narrow(0, segment.first_row, segment.rows));
}

at::Tensor Batch::HeadOf(const AdapterSegment& segment, const at::Tensor& lines) const {
  if (segment.adapter != nullptr) {
    const auto head = segment.adapter->modules.find(formats::kClassifier);
    if (head != segment.adapter->modules.end()) return at::linear(lines, head->second.weight, head->second.bias);
  }
  return encoder_.Classify(lines);
}

void Batch::StoreTokens(const AdapterSegment& segment) {
  const int64_t end = segment.first_row + segment.rows;
  const int64_t virtual_tokens = segment.adapter == nullptr ? 0 : segment.adapter->virtual_tokens();
  at::Tensor logits;
  for (int64_t place = segment.first_row; place < end; ++place) {
    if (!WantsTokens(At(place))) continue;
    if (!logits.defined()) {
      const at::Tensor states = states_.narrow(0, segment.first_token, segment.tokens).to(at::kFloat);
      logits = HeadOf(segment, states).to(at::kCPU);
    }
    const int64_t first = packed_.offsets[place] - segment.first_token + virtual_tokens;
    Store(place, logits.narrow(0, first, static_cast<int64_t>(At(place).ids->size())));
  }
}

void Batch::StoreLabels(const AdapterSegment& segment) {
  const int64_t end = segment.first_row + segment.rows;
  const bool multi_label =
      segment.adapter == nullptr ? encoder_.config().multi_label : segment.adapter->config.multi_label;
  const bool regression =
      segment.adapter == nullptr ? encoder_.config().regression : segment.adapter->config.regression;
  at::Tensor logits, probabilities;
  for (int64_t place = segment.first_row; place < end; ++place) {
    if (!WantsLabels(At(place))) continue;
    if (!logits.defined()) {
      logits = SegmentLogits(segment).to(at::kCPU);
      logits = logits + logits * 0;  // infinities become NaN: softmax and sigmoid could make a sure answer of them
      probabilities = regression ? logits : multi_label ? at::sigmoid(logits) : at::softmax(logits, -1);
    }
    const at::Tensor& values = At(place).output == Output::kLogits ? logits : probabilities;
    Store(place, values.select(0, place - segment.first_row));
  }
}

void Batch::StoreVectors() {
  std::map<std::pair<formats::Pooling, bool>, at::Tensor> on_host;  // one copy from the device, not one a row
  for (int64_t place = 0; place < packed_.rows(); ++place) {
    const InferRow& row = At(place);
    if (!WantsVector(row)) continue;
    at::Tensor& vectors = on_host[{row.pooling, row.normalize}];
    if (!vectors.defined()) vectors = Vectors(row.pooling, row.normalize).to(at::kCPU);
    Store(place, vectors.select(0, place));
  }
}

const at::Tensor& Batch::Vectors(formats::Pooling pooling, bool normalize) {
  at::Tensor& vectors = vectors_[{pooling, normalize}];
  if (!vectors.defined()) vectors = PoolSentences(states_, packed_, pooling, normalize, encoder_.projection());
  return vectors;
}

void Batch::Store(int64_t place, const at::Tensor& host_values) {
  const at::Tensor values = host_values.contiguous();
  const float* data = values.const_data_ptr<float>();
  results_[order_[static_cast<size_t>(place)]].assign(data, data + values.numel());
}

std::vector<std::vector<float>> RunBatch(const Encoder& encoder, absl::Span<const InferRow> rows) {
  const c10::InferenceMode inference;  // of this thread
  return Batch(encoder, rows).Run();
}

std::vector<RowSize> Sizes(absl::Span<const InferRow> rows) {
  std::vector<RowSize> sizes;
  for (const InferRow& row : rows) sizes.push_back({Tokens(row), row.adapter});
  return sizes;
}

}  // namespace

absl::StatusOr<std::vector<std::vector<float>>> Infer(const Base& base, absl::Span<const InferRow> rows) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const Encoder> encoder, base.encoder(base.precision()));
  for (size_t i = 0; i < rows.size(); ++i) RETURN_IF_ERROR(CheckRow(rows[i], *encoder, i));
  if (rows.empty()) return std::vector<std::vector<float>>();
  return Guarded([&]() -> absl::StatusOr<std::vector<std::vector<float>>> {
    if (!encoder->by_rows()) return RunBatch(*encoder, rows);
    std::vector<RowPart> parts = SplitRows(Sizes(rows), at::get_num_threads());
    if (parts.size() == 1) return RunBatch(*encoder, rows);
    std::vector<std::vector<float>> results(rows.size());
    std::atomic<size_t> next = 0;
    ParallelFor(std::min<int64_t>(at::get_num_threads(), parts.size()), 1, [&](int64_t, int64_t) {
      for (size_t i = next++; i < parts.size(); i = next++) {
        std::vector<InferRow> members;
        for (const size_t row : parts[i]) members.push_back(rows[row]);
        std::vector<std::vector<float>> values = RunBatch(*encoder, members);
        for (size_t k = 0; k < values.size(); ++k) results[parts[i][k]] = std::move(values[k]);
      }
    });
    return results;
  });
}

namespace {

constexpr int64_t kWarmUpSteps = 3;

// A line alone, then a batch of them, a few tokens each.
absl::Status WarmUpDecoder(const Base& base) {
  return Guarded([&]() -> absl::Status {
    const c10::InferenceMode inference;
    for (const auto& [lines, length] : {std::pair<size_t, size_t>{1, 16}, {8, 128}}) {
      ASSIGN_OR_RETURN(const std::unique_ptr<Decoder> decoder, base.NewDecoder());
      const int64_t positions = base.max_tokens();
      const auto most = positions > 0 ? static_cast<size_t>(std::max<int64_t>(positions - kWarmUpSteps, 1)) : length;
      const std::vector<int32_t> ids(std::min(length, most), 0), tokens(lines, 0);
      RETURN_IF_ERROR(decoder->Join(std::vector<DecoderSource>(lines, DecoderSource{&ids, nullptr})));
      for (int64_t step = 0; step < kWarmUpSteps; ++step) decoder->Step(tokens);
    }
    return absl::OkStatus();
  });
}

}  // namespace

absl::Status WarmUp(const Base& base) {
  if (base.generates()) return WarmUpDecoder(base);
  // A short row, a batch of typical ones, a long row: what the first requests will look like.
  const int64_t longest = base.default_max_tokens();
  for (const auto& [rows, length] : {std::pair<size_t, int64_t>{1, 16}, {16, 64}, {1, longest}}) {
    const std::vector<int32_t> ids(static_cast<size_t>(std::min(length, longest)), 0);
    InferRow row;
    row.ids = &ids;
    RETURN_IF_ERROR(Infer(base, std::vector<InferRow>(rows, row)).status());
  }
  return absl::OkStatus();
}

}  // namespace tenon::engine
