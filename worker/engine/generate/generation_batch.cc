#include "worker/engine/generate/generation_batch.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/base.h"
#include "worker/engine/generate/beam_search.h"
#include "worker/engine/generate/choose.h"
#include "worker/engine/generate/decoder.h"
#include "worker/engine/generate/target_search.h"
#include "worker/engine/model/torch_util.h"

namespace tenon::engine {
namespace {

// Tokens that a line's steps write: of what it begins with the last alone, the others are the source's affair.
int64_t WrittenTokens(const GenerationPlan& plan) { return 1 + plan.max_length - plan.prefix_tokens; }

// An upper bound of what the decoder keeps for a request.
int64_t TokensOf(const GenerationPlan& plan, int64_t source_tokens) {
  return plan.max_lines() * (source_tokens + WrittenTokens(plan));
}

// Which rows' numbers are not finite. Those become 0, so that no search trips over them.
std::vector<bool> TakeLost(at::Tensor& logits) {
  const at::Tensor sums = logits.sum(-1).to(at::kCPU);
  std::vector<bool> lost;
  for (int64_t row = 0; row < sums.size(0); ++row) {
    lost.push_back(!std::isfinite(sums.const_data_ptr<float>()[row]));
    if (lost.back()) logits.select(0, row).zero_();
  }
  return lost;
}

BeamSearch::StopCheck StopsOf(const GenerationRequest& request) {
  if (request.plan.stop_strings.empty()) return nullptr;
  return [&request](absl::Span<const int32_t> tokens) {
    return FindStop(request.detokenize(tokens), request.plan.stop_strings) != std::string::npos;
  };
}

}  // namespace

struct GenerationBatch::Running {
  explicit Running(GenerationRequest wanted) : request(std::move(wanted)) {
    if (request.plan.mode == SearchMode::kGiven) {
      given = std::make_unique<TargetSearch>(request.target, request.prefix);
    } else if (request.plan.mode == SearchMode::kBeam) {
      beams = std::make_unique<BeamSearch>(request.plan, request.prefix, StopsOf(request));
    } else {
      lines = std::make_unique<LineSearch>(request.plan, request.prefix, reads_along() ? request.detokenize : nullptr);
    }
  }

  Search& search() {
    if (given != nullptr) return *given;
    return beams != nullptr ? static_cast<Search&>(*beams) : *lines;
  }
  // Whether texts are made token by token; else once, at the end.
  bool reads_along() const {
    return beams == nullptr && given == nullptr && (request.stream || !request.plan.stop_strings.empty());
  }
  int64_t tokens() const { return TokensOf(request.plan, SourceTokens(request)); }

  std::vector<GeneratedSequence> Take() {
    std::vector<GeneratedSequence> sequences = search().Take();
    if (request.detokenize && !reads_along()) {
      for (GeneratedSequence& one : sequences) {
        one.text = CutAtStop(request.detokenize(one.tokens), request.plan.stop_strings);
      }
    }
    return sequences;
  }

  const GenerationRequest request;  // the search reads its plan and detokenizer
  std::unique_ptr<BeamSearch> beams;
  std::unique_ptr<LineSearch> lines;
  std::unique_ptr<TargetSearch> given;
};

GenerationBatch::GenerationBatch(std::unique_ptr<Decoder> decoder, const Options& options)
    : decoder_(std::move(decoder)), options_(options) {}

GenerationBatch::~GenerationBatch() = default;

int64_t GenerationBatch::lines() const { return decoder_->lines(); }

absl::StatusOr<std::unique_ptr<GenerationBatch>> GenerationBatch::Open(const Base& base, const Options& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Decoder> decoder, base.NewDecoder());
  return std::make_unique<GenerationBatch>(std::move(decoder), options);
}

bool GenerationBatch::CanJoin(const GenerationPlan& plan, int64_t source_tokens,
                              absl::Span<const GenerationRequest> with) const {
  int64_t lines = reserved_lines_ + plan.max_lines();
  int64_t tokens = reserved_tokens_ + TokensOf(plan, source_tokens);
  for (const GenerationRequest& other : with) {
    lines += other.plan.max_lines();
    tokens += TokensOf(other.plan, SourceTokens(other));
  }
  return lines <= options_.max_lines && tokens <= options_.max_tokens;
}

absl::Status GenerationBatch::CheckFits(const GenerationPlan& plan, int64_t source_tokens) const {
  if (plan.max_lines() > options_.max_lines) {
    return TenonError(Reason::kFieldInvalid,
                      absl::StrCat("a request for ", plan.max_lines(), " sequences at once; at most ",
                                   options_.max_lines, " are written together"),
                      plan.mode == SearchMode::kBeam ? "num_beams" : "num_return_sequences");
  }
  const int64_t tokens = TokensOf(plan, source_tokens);
  if (tokens > options_.max_tokens) {
    return TenonError(
        Reason::kFieldInvalid,
        absl::StrCat(plan.max_lines(), " sequences of up to ", WrittenTokens(plan), " tokens, from ", source_tokens,
                     ", take ", tokens, " tokens of memory; there is room for ", options_.max_tokens),
        "max_new_tokens");
  }
  return absl::OkStatus();
}

absl::Status GenerationBatch::CheckRequest(const GenerationRequest& request) const {
  if (request.prefix.empty() || static_cast<int64_t>(request.prefix.size()) != request.plan.prefix_tokens) {
    return TenonError(Reason::kInternal, absl::StrCat("a request starts from ", request.prefix.size(),
                                                      " tokens; its plan is for ", request.plan.prefix_tokens));
  }
  if ((request.plan.mode == SearchMode::kGiven) == request.target.empty()) {
    return TenonError(Reason::kInternal, "a target goes with a plan to read one, and with no other");
  }
  for (const int32_t id : request.target) {
    if (id < 0 || id >= decoder_->vocab_size()) {
      return TenonError(Reason::kFieldInvalid, absl::StrCat("token id ", id, " is not in the vocabulary"), "target");
    }
  }
  if (!request.plan.stop_strings.empty() && !request.detokenize) {
    return TenonError(Reason::kUnsupported, "stop strings need a tokenizer that can decode", "stop_strings");
  }
  return absl::OkStatus();
}

absl::Status GenerationBatch::Join(std::vector<GenerationRequest> requests) {
  int64_t lines = reserved_lines_, tokens = reserved_tokens_;
  for (const GenerationRequest& request : requests) {
    RETURN_IF_ERROR(CheckRequest(request));
    lines += request.plan.max_lines();
    tokens += TokensOf(request.plan, SourceTokens(request));
  }
  if (lines > options_.max_lines || tokens > options_.max_tokens) {
    return TenonError(Reason::kOutOfMemory,
                      absl::StrCat("the batch would hold ", lines, " lines and ", tokens, " tokens; there is room for ",
                                   options_.max_lines, " and ", options_.max_tokens));
  }
  std::vector<std::unique_ptr<Running>> joining;
  std::vector<DecoderSource> sources;
  for (GenerationRequest& request : requests) {
    joining.push_back(std::make_unique<Running>(std::move(request)));
    sources.push_back({&joining.back()->request.source, joining.back()->request.adapter.get()});
  }
  RETURN_IF_ERROR(Guarded([&] {
    const c10::InferenceMode inference;
    return decoder_->Join(sources);
  }));
  std::move(joining.begin(), joining.end(), std::back_inserter(running_));
  reserved_lines_ = lines;
  reserved_tokens_ = tokens;
  return absl::OkStatus();
}

void GenerationBatch::Release(const Running& running) {
  reserved_lines_ -= running.request.plan.max_lines();
  reserved_tokens_ -= running.tokens();
}

absl::Status GenerationBatch::Cancel(uint64_t id) {
  const auto place =
      std::find_if(running_.begin(), running_.end(), [id](const auto& one) { return one->request.id == id; });
  if (place == running_.end()) return absl::OkStatus();
  int64_t first = 0;
  for (auto before = running_.begin(); before != place; ++before) first += (*before)->search().lines();
  std::vector<int64_t> others(static_cast<size_t>(decoder_->lines()));
  std::iota(others.begin(), others.end(), 0);
  others.erase(others.begin() + first, others.begin() + first + (*place)->search().lines());
  const absl::Status selected = Guarded([&] {
    const c10::InferenceMode inference;
    decoder_->Select(others);
    return absl::OkStatus();
  });
  Release(**place);
  running_.erase(place);
  return selected;
}

absl::StatusOr<std::vector<GenerationEvent>> GenerationBatch::Step() {
  if (running_.empty()) return std::vector<GenerationEvent>();
  std::vector<int32_t> tokens;
  std::vector<SearchRows> searches;
  for (const auto& one : running_) {
    searches.push_back({&one->request.plan, one->beams.get(), one->lines.get(), one->given.get(),
                        static_cast<int64_t>(tokens.size())});
    for (int64_t i = 0; i < one->search().lines(); ++i) tokens.push_back(one->search().tokens(i).back());
  }
  return Guarded([&]() -> absl::StatusOr<std::vector<GenerationEvent>> {
    const c10::InferenceMode inference;
    at::Tensor logits = decoder_->Step(tokens);
    const std::vector<bool> lost_rows = TakeLost(logits);
    std::vector<bool> lost;  // requests: one line that overflows takes its sisters with it
    for (const SearchRows& one : searches) {
      const auto first = lost_rows.begin() + one.first_row;
      lost.push_back(std::find(first, first + one.search().lines(), true) != first + one.search().lines());
    }
    ChooseTokens(std::move(logits), searches);
    std::vector<int64_t> parents;
    for (size_t i = 0; i < searches.size(); ++i) {
      const SearchRows& one = searches[i];
      for (const int64_t parent : one.search().parents()) {
        if (!lost[i] && !one.search().done()) parents.push_back(one.first_row + parent);
      }
    }
    std::vector<int64_t> same(tokens.size());
    std::iota(same.begin(), same.end(), 0);
    if (parents != same) decoder_->Select(parents);
    return Collect(lost);
  });
}

std::vector<GenerationEvent> GenerationBatch::Collect(const std::vector<bool>& lost) {
  std::vector<GenerationEvent> events;
  std::vector<std::unique_ptr<Running>> going_on;
  for (size_t i = 0; i < running_.size(); ++i) {
    std::unique_ptr<Running>& one = running_[i];
    GenerationEvent& event = events.emplace_back();
    event.id = one->request.id;
    if (lost[i]) {
      event.finished = true;
      event.finite = false;
      Release(*one);
      continue;
    }
    if (one->lines != nullptr) event.deltas = one->lines->deltas();
    event.finished = one->search().done();
    if (event.finished) {
      event.sequences = one->Take();
      Release(*one);
    } else {
      going_on.push_back(std::move(one));
    }
  }
  running_ = std::move(going_on);
  return events;
}

}  // namespace tenon::engine
