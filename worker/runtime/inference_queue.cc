#include "worker/runtime/inference_queue.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/runtime/check_finite.h"

namespace tenon::runtime {

struct InferenceQueue::EncoderCall : Call {
  InferenceCall in;
  Done done;
  EncodedRows encoded;
  std::vector<InferenceRow> rows;
  size_t remaining = 0;
  absl::Duration compute;
};

InferenceQueue::InferenceQueue(const Runtime::Options& options, const Parts& parts, RuntimeObserver observer)
    : CallQueue(parts, options.max_queued_tokens),
      observer_(std::move(observer)),
      batcher_({.max_tokens = options.max_batch_tokens, .max_rows = options.max_batch_rows}) {}

uint64_t InferenceQueue::Submit(InferenceCall in, Done done) {
  const auto call = std::make_shared<EncoderCall>();
  call->in = std::move(in);
  call->done = std::move(done);
  return Enter(call, call->in);
}

absl::Status InferenceQueue::Check(const Call& call) const {
  if (!call.base->generates() || call.check_only) return absl::OkStatus();
  if (static_cast<const EncoderCall&>(call).in.output == engine::Output::kEmbedding) {
    return TenonError(Reason::kUnsupported, "the base writes texts; vectors are not offered of it", "base");
  }
  return TenonError(Reason::kNoClassifier, "the base writes texts; it has no classification head", "base");
}

absl::Status InferenceQueue::CheckAdapter(const Call& call) const {
  const int64_t head = call.host == nullptr ? 0 : call.host->num_labels();
  const bool labels = static_cast<const EncoderCall&>(call).in.output != engine::Output::kEmbedding;
  if (labels && head == 0 && call.base->labels().empty()) {
    return TenonError(Reason::kNoClassifier, "the model has no classification head");
  }
  return absl::OkStatus();
}

std::optional<EncodedRows> InferenceQueue::EncodeTexts(const EncoderCall& call, int64_t max_tokens) {
  EncodedRows rows;
  const std::vector<std::string>& pairs = call.in.text_pairs;
  for (size_t i = 0; i < call.in.texts.size(); ++i) {
    {
      absl::MutexLock lock(&mutex_);
      if (!Alive(call.id)) return std::nullopt;
    }
    rows.encodings.push_back(
        call.base->tokenizer().EncodeRow(call.in.texts[i], i < pairs.size() ? pairs[i] : std::string(), max_tokens));
    rows.texts.push_back(i);
  }
  return rows;
}

void InferenceQueue::Tokenize(const CallPtr& entered) {
  const auto call = std::static_pointer_cast<EncoderCall>(entered);
  const int64_t limit = engine::MaxInputTokens(*call->base, call->host.get());
  const int64_t virtual_tokens = call->host == nullptr ? 0 : call->host->virtual_tokens();
  EncodedRows encoded;
  if (call->in.encode) {
    auto made = call->in.encode(*call->base, limit);
    if (!made.ok()) return End(call, made.status());
    encoded = *std::move(made);
  } else {
    auto made = EncodeTexts(*call, limit);
    if (!made.has_value()) return;
    encoded = *std::move(made);
  }
  if (encoded.encodings.empty()) return End(call, absl::OkStatus());  // texts without a word
  std::vector<int32_t> tokens;
  for (const engine::Encoding& one : encoded.encodings) {
    tokens.push_back(static_cast<int32_t>(static_cast<int64_t>(one.ids.size()) + virtual_tokens));
  }
  absl::MutexLock lock(&mutex_);
  if (!Alive(call->id)) return;
  call->encoded = std::move(encoded);
  call->rows.resize(tokens.size());
  call->remaining = tokens.size();
  Settle(*call);
  batcher_.Add(call->id, call->base_number, call->adapter, tokens);
  encoded_[call->id] = call;
  parts_.loop->Wake();
}

void InferenceQueue::Forget(const Call& call) {
  batcher_.Remove(call.id);
  encoded_.erase(call.id);
}

void InferenceQueue::Respond(Call& answered, const absl::Status& status) {
  EncoderCall& call = static_cast<EncoderCall&>(answered);
  if (!status.ok()) return call.done(status);
  InferenceReply reply;
  reply.rows = std::move(call.rows);
  if (call.host != nullptr) {
    reply.adapter = call.host->config();
    reply.virtual_tokens = call.host->virtual_tokens();
    reply.crf = call.host->crf();
  } else {
    reply.adapter.labels = call.base->labels();
    reply.adapter.regression = !call.base->generates() && call.base->config().regression;
  }
  reply.compute_time = call.compute;
  reply.queue_time = QueueTime(call);
  call.done(std::move(reply));
}

bool InferenceQueue::HasReady(absl::Time) {
  return batcher_.HasReady([this](AdapterId id) { return id == kNoAdapter || parts_.adapters->OnDevice(id); });
}

// Cuts a batch. `pins` holds its adapters: nothing that is looked at leaves the device meanwhile.
std::vector<InferenceQueue::WorkRow> InferenceQueue::TakeBatch(Pins& pins) {
  absl::MutexLock lock(&mutex_);
  const Batcher::Batch batch = batcher_.Next([&](AdapterId id) {
    if (id == kNoAdapter || pins.contains(id)) return true;
    Residency::Device handle = parts_.adapters->DeviceHandle(id);
    return handle != nullptr && pins.emplace(id, std::move(handle)).second;
  });
  std::vector<WorkRow> rows;
  Pins used;
  for (const Batcher::Row& row : batch.rows) {
    const EncoderCallPtr& call = encoded_.at(row.call);
    if (!call->started.has_value()) call->started = parts_.clock->Now();
    const engine::DeviceAdapter* adapter = nullptr;
    if (row.adapter != kNoAdapter) {
      adapter = pins.at(row.adapter).get();
      if (used.emplace(row.adapter, pins.at(row.adapter)).second) parts_.adapters->Touch(row.adapter);
    }
    rows.push_back({call, row.index, adapter});
  }
  pins = std::move(used);
  return rows;
}

const char* InferenceQueue::RunSlice() {
  Pins pins;
  const std::vector<WorkRow> rows = TakeBatch(pins);
  if (!rows.empty()) Compute(rows);
  return "inference";
}

void InferenceQueue::Compute(const std::vector<WorkRow>& rows) {
  std::vector<engine::InferRow> inputs;
  int64_t tokens = 0, adapters = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const EncoderCall& call = *rows[i].call;
    const engine::Encoding& encoding = call.encoded.encodings[rows[i].index];
    const formats::SentenceConfig& sentence = call.base->sentence();
    const bool own = call.host != nullptr && call.host->config().task == "feature_extraction";
    inputs.push_back(
        {.ids = &encoding.ids,
         .second_type = encoding.second_type,
         .adapter = rows[i].adapter,
         .output = call.in.output,
         .pooling = call.in.pooling.value_or(own ? call.host->config().pooling : sentence.pooling),
         .normalize = call.in.normalize.value_or(own ? call.host->config().normalize : sentence.normalize)});
    tokens += static_cast<int64_t>(encoding.ids.size());
    adapters += i == 0 || rows[i].adapter != rows[i - 1].adapter;
  }
  const absl::Time start = parts_.clock->Now();
  auto values = engine::Infer(*rows.front().call->base, inputs);
  const absl::Duration took = parts_.clock->Now() - start;
  if (values.ok() && observer_.batch) observer_.batch(static_cast<int64_t>(rows.size()), tokens, adapters, took);
  Deliver(rows, std::move(values), took);
}

void InferenceQueue::Deliver(const std::vector<WorkRow>& rows, absl::StatusOr<std::vector<std::vector<float>>> values,
                             absl::Duration took) {
  if (!values.ok() && rows.size() > 1) {
    // One call's rows must not fail its neighbours', and half of a batch may fit where the whole did not.
    std::map<uint64_t, std::vector<WorkRow>> parts;
    for (const WorkRow& row : rows) parts[row.call->id].push_back(row);
    if (parts.size() == 1 && GetReason(values.status()) == Reason::kOutOfMemory) {
      const auto middle = rows.begin() + rows.size() / 2;
      parts = {{0, {rows.begin(), middle}}, {1, {middle, rows.end()}}};
    }
    if (parts.size() > 1) {
      for (const auto& [id, part] : parts) Compute(part);
      return;
    }
  }
  std::vector<std::pair<EncoderCallPtr, absl::Status>> finished;
  std::set<uint64_t> counted;
  {
    absl::MutexLock lock(&mutex_);
    for (size_t i = 0; i < rows.size(); ++i) {
      const EncoderCallPtr& call = rows[i].call;
      if (!Alive(call->id)) continue;  // cancelled, late or failed meanwhile
      const absl::Status status =
          values.ok() ? CheckFinite((*values)[i], absl::StrCat("texts[", call->encoded.texts[rows[i].index], "]"))
                      : values.status();
      if (!status.ok()) {
        Remove(call);
        finished.emplace_back(call, status);
        continue;
      }
      const engine::Encoding& encoding = call->encoded.encodings[rows[i].index];
      call->rows[rows[i].index] = {std::move((*values)[i]), static_cast<int32_t>(encoding.ids.size()),
                                   encoding.truncated};
      if (counted.insert(call->id).second) call->compute += took;
      if (--call->remaining > 0) continue;
      Remove(call);
      finished.emplace_back(call, absl::OkStatus());
    }
  }
  for (const auto& [call, status] : finished) Answer(call, status);
}

}  // namespace tenon::runtime
