#include "worker/runtime/generation_queue.h"

#include <random>

#include "common/formats/status.h"
#include "worker/runtime/generation_call.h"
#include "worker/runtime/generation_plan.h"

namespace tenon::runtime {
namespace {

uint64_t FreshSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace

GenerationQueue::GenerationQueue(const Runtime::Options& options, const Parts& parts, RuntimeObserver observer)
    : CallQueue(parts, options.max_queued_tokens), options_(options), observer_(std::move(observer)) {}

uint64_t GenerationQueue::Submit(GenerationCall in, GenerationCallbacks callbacks) {
  const auto call = std::make_shared<Writing>();
  call->in = std::move(in);
  call->callbacks = std::move(callbacks);
  return Enter(call, call->in);
}

absl::Status GenerationQueue::Check(const Call& call) const {
  if (!call.base->generates()) {
    return TenonError(Reason::kNotGenerative, "the base encodes texts; it does not write any", "base");
  }
  const GenerationCall& in = static_cast<const Writing&>(call).in;
  if (in.stream && in.texts.size() != 1) {
    return TenonError(Reason::kFieldInvalid, "one text is streamed at a time", "texts");
  }
  return absl::OkStatus();
}

absl::StatusOr<engine::GenerationPlan> GenerationQueue::Plan(const Writing& call) const {
  ASSIGN_OR_RETURN(engine::GenerationPlan plan, PlanGeneration(*call.base, {.options = call.in.options,
                                                                            .defaults = call.in.defaults,
                                                                            .bad_words = call.in.bad_words,
                                                                            .max_lines = options_.max_decoder_lines,
                                                                            .stream = call.in.stream}));
  if (call.in.stream && plan.num_return_sequences > 1) {
    return TenonError(Reason::kFieldInvalid, "one sequence is streamed at a time", "num_return_sequences");
  }
  return plan;
}

void GenerationQueue::Tokenize(const CallPtr& entered) {
  const auto call = std::static_pointer_cast<Writing>(entered);
  auto plan = Plan(*call);
  if (!plan.ok()) return End(call, plan.status());
  const int64_t limit = engine::MaxInputTokens(*call->base, call->host.get(), call->in.max_input_tokens);
  const int64_t virtual_tokens = call->host == nullptr ? 0 : call->host->virtual_tokens();
  std::vector<engine::Encoding> encodings;
  std::vector<int32_t> tokens;
  std::vector<uint64_t> seeds;
  std::vector<GenerationRow> rows;
  for (const std::string& text : call->in.texts) {
    encodings.push_back(call->base->generative_tokenizer().Encode(text, limit));
    tokens.push_back(static_cast<int32_t>(static_cast<int64_t>(encodings.back().ids.size()) + virtual_tokens));
    rows.push_back(
        {.input_tokens = static_cast<int32_t>(encodings.back().ids.size()), .truncated = encodings.back().truncated});
    // Without a seed, no two rows draw alike.
    seeds.push_back(call->in.options.seed.has_value() ? plan->seed : FreshSeed());
  }
  absl::MutexLock lock(&mutex_);
  if (!Alive(call->id)) return;
  call->plan = *std::move(plan);
  call->seeds = std::move(seeds);
  call->encodings = std::move(encodings);
  call->rows = std::move(rows);
  call->remaining = tokens.size();
  Settle(*call);
  const auto lane = lanes_.find(call->base_number);
  Lane& there =
      lane != lanes_.end()
          ? lane->second
          : lanes_
                .emplace(call->base_number, Lane{DecoderLane(call->base, {.max_lines = options_.max_decoder_lines,
                                                                          .max_tokens = options_.max_decoder_tokens}),
                                                 {},
                                                 {},
                                                 {}})
                .first->second;
  there.waiting.Add(call->id, call->adapter, call->plan.max_lines(), tokens);
  writing_[call->id] = call;
  parts_.loop->Wake();
}

void GenerationQueue::Forget(const Call& call) {
  if (writing_.erase(call.id) == 0) return;
  const auto found = lanes_.find(call.base_number);
  if (found == lanes_.end()) return;
  Lane& lane = found->second;
  lane.waiting.Remove(call.id);
  for (auto one = lane.running.begin(); one != lane.running.end();) {
    if (one->second.row.call != call.id) {
      ++one;
      continue;
    }
    lane.cancelled.push_back(one->first);
    one = lane.running.erase(one);
  }
}

int64_t GenerationQueue::WaitingRows() const {
  int64_t rows = 0;
  for (const auto& [base, lane] : lanes_) rows += lane.waiting.rows();
  return rows;
}

int64_t GenerationQueue::WaitingTokens() const {
  int64_t tokens = 0;
  for (const auto& [base, lane] : lanes_) tokens += lane.waiting.tokens();
  return tokens;
}

void GenerationQueue::Respond(Call& answered, const absl::Status& status) {
  Writing& call = static_cast<Writing&>(answered);
  if (!status.ok()) return call.callbacks.done(status);
  GenerationReply reply;
  reply.rows = std::move(call.rows);
  reply.ignored_options = call.plan.ignored;
  reply.compute_time = call.compute;
  reply.queue_time = QueueTime(call);
  call.callbacks.done(std::move(reply));
}

}  // namespace tenon::runtime
