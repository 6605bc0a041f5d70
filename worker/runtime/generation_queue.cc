#include "worker/runtime/generation_queue.h"

#include <random>

#include "absl/strings/str_cat.h"
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

int64_t GenerationQueue::VirtualTokens(const Writing& call) {
  return call.host == nullptr ? 0 : call.host->virtual_tokens();
}

absl::StatusOr<engine::GenerationPlan> GenerationQueue::Plan(const Writing& call,
                                                             const engine::Encoding& encoding) const {
  ASSIGN_OR_RETURN(engine::GenerationPlan plan,
                   PlanGeneration(*call.base, {.options = call.in.options,
                                               .defaults = call.in.defaults,
                                               .bad_words = call.in.bad_words,
                                               .max_lines = options_.max_decoder_lines,
                                               .stream = call.in.stream,
                                               .prompt_tokens = static_cast<int64_t>(encoding.ids.size()),
                                               .virtual_tokens = VirtualTokens(call)}));
  if (call.in.stream && plan.num_return_sequences > 1) {
    return TenonError(Reason::kFieldInvalid, "one sequence is streamed at a time", "num_return_sequences");
  }
  // Without a seed, no two rows draw alike.
  if (!call.in.options.seed.has_value()) plan.seed = FreshSeed();
  return plan;
}

// A prompt is cut where that was asked for, and else refused: its end is what the reply goes on from.
absl::Status GenerationQueue::CheckPrompt(const Writing& call, size_t row, const engine::Encoding& encoding) const {
  if (!call.base->decoder_only()) return absl::OkStatus();
  const std::string field = absl::StrCat("texts[", row, "]");
  if (encoding.ids.empty()) return TenonError(Reason::kTextEmpty, "a prompt has no tokens", field);
  const int64_t positions = call.base->generation_limits().max_positions, virtual_tokens = VirtualTokens(call);
  const int64_t room = positions - virtual_tokens - 1;
  const int64_t asked = call.in.max_input_tokens > 0 ? call.in.max_input_tokens
                        : call.host != nullptr       ? call.host->config().max_input_tokens
                                                     : 0;
  if (!encoding.truncated || (asked > 0 && asked <= room)) return absl::OkStatus();
  const std::string others = virtual_tokens > 0 ? absl::StrCat(", ", virtual_tokens, " of them the adapter's") : "";
  return TenonError(Reason::kFieldInvalid,
                    absl::StrCat("a prompt of more than ", room, " tokens; the base has ", positions, " positions",
                                 others, ", and a reply needs one: shorten it, or set max_input_tokens to have it cut"),
                    field);
}

absl::Status GenerationQueue::ReadRows(Writing& call) const {
  const int64_t limit = engine::MaxInputTokens(*call.base, call.host.get(), call.in.max_input_tokens);
  for (size_t row = 0; row < call.in.texts.size(); ++row) {
    engine::Encoding encoding = call.base->generative_tokenizer().Encode(call.in.texts[row], limit);
    RETURN_IF_ERROR(CheckPrompt(call, row, encoding));
    ASSIGN_OR_RETURN(engine::GenerationPlan plan, Plan(call, encoding));
    call.plans.push_back(std::move(plan));
    call.rows.push_back({.input_tokens = static_cast<int32_t>(encoding.ids.size()), .truncated = encoding.truncated});
    call.encodings.push_back(std::move(encoding));
  }
  call.remaining = call.rows.size();
  return absl::OkStatus();
}

void GenerationQueue::Tokenize(const CallPtr& entered) {
  const auto call = std::static_pointer_cast<Writing>(entered);
  if (const absl::Status read = ReadRows(*call); !read.ok()) return End(call, read);
  std::vector<int32_t> tokens;
  for (const engine::Encoding& encoding : call->encodings) {
    const auto source = static_cast<int64_t>(SourceOf(*call->base, encoding.ids).size());
    tokens.push_back(static_cast<int32_t>(source + VirtualTokens(*call)));
  }
  const int64_t lines = call->plans.empty() ? 0 : call->plans.front().max_lines();
  absl::MutexLock lock(&mutex_);
  if (!Alive(call->id)) return;
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
  there.waiting.Add(call->id, call->adapter, lines, tokens);
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
  if (!call.plans.empty()) reply.ignored_options = call.plans.front().ignored;
  reply.compute_time = call.compute;
  reply.queue_time = QueueTime(call);
  call.callbacks.done(std::move(reply));
}

}  // namespace tenon::runtime
