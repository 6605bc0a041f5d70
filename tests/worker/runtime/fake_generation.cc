// The engine's generation batch without torch: greedy search and sampling over what the fake engine writes.
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "common/formats/status.h"
#include "tests/worker/runtime/fake_engine.h"
#include "worker/engine/generate/generation_batch.h"
#include "worker/engine/generate/line_search.h"
#include "worker/engine/generate/target_search.h"

namespace tenon::engine {

using testing::FakeEngine;
using testing::FakeLine;

class Decoder {
 public:
  explicit Decoder(std::string base) : base(std::move(base)) { ++FakeEngine::Get().decoders_live; }
  ~Decoder() { --FakeEngine::Get().decoders_live; }
  const std::string base;
};

namespace {

int64_t TokensOf(const GenerationPlan& plan, int64_t source) { return plan.max_lines() * (source + plan.max_length); }

bool Overflows(const GenerationRequest& request) {
  const int32_t token = testing::FakeToken(testing::kFakeOverflow);
  return std::count(request.source.begin(), request.source.end(), token) > 0 ||
         std::count(request.target.begin(), request.target.end(), token) > 0;
}

// What a line's reply is, as far as it ends by itself.
std::vector<int32_t> Reply(const GenerationRequest& request) {
  std::vector<int32_t> reply;
  if (request.plan.mode == SearchMode::kSample) {
    reply.push_back(testing::FakeToken(static_cast<int32_t>(request.plan.seed % 100)));
  }
  const int64_t answer = request.adapter == nullptr ? -1 : testing::FakeAnswer(*request.adapter);
  if (answer >= 0) reply.push_back(testing::FakeToken(static_cast<int32_t>(900 + answer)));
  for (const int32_t id : request.source) {
    if (id >= 1000) reply.push_back(id);
  }
  return reply;
}

}  // namespace

struct GenerationBatch::Running {
  explicit Running(GenerationRequest wanted)
      : request(std::move(wanted)),
        reply(Reply(request)),
        endless(std::count(request.source.begin(), request.source.end(), testing::kFakeOn) > 0),
        search(request.plan, request.prefix, reads_along() ? request.detokenize : nullptr),
        given_search(request.target, request.prefix) {}
  bool given() const { return request.plan.mode == SearchMode::kGiven; }
  bool done() const { return given() ? given_search.done() : search.done(); }
  bool reads_along() const { return request.stream || !request.plan.stop_strings.empty(); }
  std::vector<GeneratedSequence> Take() {
    if (given()) return given_search.Take();
    std::vector<GeneratedSequence> sequences = search.Take();
    for (GeneratedSequence& sequence : sequences) {
      if (!reads_along()) sequence.text = request.detokenize(sequence.tokens);
    }
    return sequences;
  }
  int32_t NextToken() {
    const size_t place = static_cast<size_t>(written++);
    return place < reply.size() ? reply[place] : endless ? testing::FakeToken(1) : testing::kFakeEos;
  }
  FakeLine Line(const std::string& base) const {
    return {base, request.adapter == nullptr ? -1 : testing::FakeAnswer(*request.adapter), request.source, written};
  }
  const GenerationRequest request;
  const std::vector<int32_t> reply;
  const bool endless;
  LineSearch search;
  TargetSearch given_search;
  int64_t written = 0;
};

GenerationBatch::GenerationBatch(std::unique_ptr<Decoder> decoder, const Options& options)
    : decoder_(std::move(decoder)), options_(options) {}
GenerationBatch::~GenerationBatch() = default;

absl::StatusOr<std::unique_ptr<GenerationBatch>> GenerationBatch::Open(const Base& base, const Options& options) {
  return std::make_unique<GenerationBatch>(std::make_unique<Decoder>(base.digest()), options);
}

int64_t GenerationBatch::lines() const { return static_cast<int64_t>(running_.size()); }

bool GenerationBatch::CanJoin(const GenerationPlan& plan, int64_t source_tokens,
                              absl::Span<const GenerationRequest> with) const {
  int64_t lines = reserved_lines_ + plan.max_lines(), tokens = reserved_tokens_ + TokensOf(plan, source_tokens);
  for (const GenerationRequest& other : with) {
    lines += other.plan.max_lines();
    tokens += TokensOf(other.plan, static_cast<int64_t>(other.source.size()));
  }
  return lines <= options_.max_lines && tokens <= options_.max_tokens;
}

absl::Status GenerationBatch::CheckFits(const GenerationPlan& plan, int64_t source_tokens) const {
  if (TokensOf(plan, source_tokens) <= options_.max_tokens) return absl::OkStatus();
  return TenonError(Reason::kFieldInvalid, "it never fits", "max_new_tokens");
}

absl::Status GenerationBatch::Join(std::vector<GenerationRequest> requests) {
  FakeEngine& fake = FakeEngine::Get();
  std::vector<std::unique_ptr<Running>> joining;
  std::vector<FakeLine> sources;
  for (GenerationRequest& request : requests) {
    joining.push_back(std::make_unique<Running>(std::move(request)));
    sources.push_back(joining.back()->Line(decoder_->base));
  }
  if (fake.on_join) RETURN_IF_ERROR(fake.on_join(lines(), sources));
  ++fake.joins;
  for (auto& one : joining) {
    reserved_lines_ += one->request.plan.max_lines();
    reserved_tokens_ += TokensOf(one->request.plan, static_cast<int64_t>(one->request.source.size()));
    running_.push_back(std::move(one));
  }
  return absl::OkStatus();
}

void GenerationBatch::Release(const Running& running) {
  reserved_lines_ -= running.request.plan.max_lines();
  reserved_tokens_ -= TokensOf(running.request.plan, static_cast<int64_t>(running.request.source.size()));
}

absl::Status GenerationBatch::Cancel(uint64_t id) {
  std::erase_if(running_, [&](const auto& one) {
    if (one->request.id != id) return false;
    Release(*one);
    return true;
  });
  return absl::OkStatus();
}

absl::StatusOr<std::vector<GenerationEvent>> GenerationBatch::Step() {
  FakeEngine& fake = FakeEngine::Get();
  std::vector<FakeLine> lines;
  for (const auto& one : running_) lines.push_back(one->Line(decoder_->base));
  if (fake.on_step) RETURN_IF_ERROR(fake.on_step(lines));
  ++fake.steps;
  std::vector<bool> lost;
  for (const auto& one : running_) lost.push_back(Overflows(one->request));
  return Collect(lost);
}

std::vector<GenerationEvent> GenerationBatch::Collect(const std::vector<bool>& lost) {
  std::vector<GenerationEvent> events;
  for (size_t i = 0; i < lost.size(); ++i) {
    const auto& one = running_[i];
    if (lost[i]) {
      events.push_back({.id = one->request.id, .finished = true, .finite = false});
      continue;
    }
    const int32_t token = one->NextToken();
    if (one->given()) {
      one->given_search.Advance(-0.5f, token);
    } else {
      const std::vector<std::vector<Choice>> choices = {{{token, -0.5f}}};
      one->search.Advance(choices);
    }
    events.push_back({one->request.id, {}, one->done(), {}});
    if (!one->given()) events.back().deltas = one->search.deltas();
    if (events.back().finished) events.back().sequences = one->Take();
  }
  std::erase_if(running_, [&](const auto& one) {
    const bool done = one->done() || Overflows(one->request);
    if (done) Release(*one);
    return done;
  });
  return events;
}

}  // namespace tenon::engine
