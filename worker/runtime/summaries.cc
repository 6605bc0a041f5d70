#include "worker/runtime/summaries.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/formats/status.h"
#include "worker/runtime/extractive_summary.h"
#include "worker/runtime/summary_rounds.h"

namespace tenon::runtime {
namespace {

using Method = ExtractiveChoice::Method;

absl::Status NoScorer() {
  return TenonError(Reason::kFieldInvalid,
                    "method is SCORER; the model has none: an adapter trained for TASK_EXTRACTIVE_SUMMARIZATION has",
                    "method");
}

// An error about a sentence, `texts[i]` of a part, as one about the text that it is of.
absl::Status OfText(const absl::Status& status, const std::vector<size_t>& texts) {
  const std::string field = GetField(status);
  absl::string_view number = field;
  size_t i = 0;
  if (!absl::ConsumePrefix(&number, "texts[") || !absl::ConsumeSuffix(&number, "]")) return status;
  if (!absl::SimpleAtoi(number, &i) || i >= texts.size()) return status;
  return TenonError(GetReason(status), std::string(status.message()), absl::StrCat("texts[", texts[i], "]"));
}

}  // namespace

struct Summaries::Call {
  uint64_t id = 0;
  SummaryCall in;
  Done done;
  std::shared_ptr<const engine::Base> base;
  int64_t estimate = 0;
  uint64_t part = 0;                                   // the call to another queue that it waits for
  engine::Output output = engine::Output::kEmbedding;  // that extractive summaries need
  std::vector<ExtractiveSummary> extractive;
  std::vector<std::vector<InferenceRow>> read;  // of each text's sentences, as far as they are read
  size_t next_text = 0, next_sentence = 0;      // to be read next
  std::vector<SummaryRounds> rounds;
  std::vector<size_t> asked;  // pieces of each text in this round
  SummaryReply reply;
};

void Summaries::AddBase(const std::string& digest, std::shared_ptr<const engine::Base> base) {
  absl::MutexLock lock(&mutex_);
  bases_[digest] = std::move(base);
}

void Summaries::RemoveBase(const std::string& digest) {
  absl::MutexLock lock(&mutex_);
  bases_.erase(digest);
}

uint64_t Summaries::Submit(SummaryCall in, Done done) {
  const auto call = std::make_shared<Call>();
  call->id = (*parts_.next_call)++;
  call->in = std::move(in);
  call->done = std::move(done);
  absl::MutexLock lock(&mutex_);
  calls_[call->id] = call;
  if (const absl::Status status = Admit(*call); !status.ok()) {
    End(call, status);
    return call->id;
  }
  parts_.workers->Post([this, call] { Begin(call); });
  return call->id;
}

absl::Status Summaries::Admit(Call& call) {
  const auto base = bases_.find(call.in.base_digest);
  if (base == bases_.end()) return TenonError(Reason::kNoWorker, "this worker does not hold the base", "base");
  call.base = base->second;
  if (call.base->decoder_only()) {
    return TenonError(Reason::kUnsupported,
                      "the base goes on from a prompt and was not made to summarize: ask Generate", "base");
  }
  call.reply.extractive = !call.base->generates();
  if (call.in.options.has_value() && call.in.options->num_return_sequences.value_or(1) > 1) {
    return TenonError(Reason::kFieldInvalid, "a text has one summary", "num_return_sequences");
  }
  int64_t estimate = 0;
  for (const std::string& text : call.in.texts) estimate += 1 + static_cast<int64_t>(text.size() / 4);
  if (tokens_ > 0 && tokens_ + estimate > parts_.max_queued_tokens) {
    return TenonError(Reason::kQueueFull, absl::StrCat("the worker has ", tokens_, " tokens to summarize"));
  }
  call.estimate = estimate;
  tokens_ += estimate;
  return absl::OkStatus();
}

void Summaries::Cancel(uint64_t id) {
  uint64_t part = 0;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = calls_.find(id);
    if (found == calls_.end()) return;
    part = found->second->part;
    tokens_ -= found->second->estimate;
    calls_.erase(found);
  }
  parts_.inference->Cancel(part);
  parts_.generation->Cancel(part);
}

void Summaries::End(const CallPtr& call, const absl::Status& status) {
  parts_.loop->Post([this, call, status] {
    {
      absl::MutexLock lock(&mutex_);
      if (calls_.erase(call->id) == 0) return;
      tokens_ -= call->estimate;
    }
    if (!status.ok()) return call->done(status);
    call->done(std::move(call->reply));
  });
}

void Summaries::Begin(const CallPtr& call) {
  const bool wants_scorer = call->in.extractive.has_value() && call->in.extractive->method == Method::kScorer;
  if (wants_scorer && (!call->reply.extractive || call->in.adapter_digest.empty())) return End(call, NoScorer());
  std::vector<std::string>& ignored = call->reply.ignored_options;
  if (call->reply.extractive) {
    if (call->in.options.has_value()) ignored.push_back("generation");
    if (call->in.max_input_tokens > 0) ignored.push_back("max_input_tokens");
    if (call->in.combine_chunks) ignored.push_back("combine_chunks");
    return AskScorer(call);
  }
  if (call->in.extractive.has_value()) ignored.push_back("extractive");
  if (call->in.options.has_value() && call->in.options->return_scores) ignored.push_back("return_scores");
  if (!call->in.combine_chunks) return BeginRounds(call, 0);
  if (call->in.max_input_tokens > 0 && call->base->max_tokens() == 0) {
    return BeginRounds(call, call->in.max_input_tokens);
  }
  AskAdapter(call);
}

void Summaries::Ask(const CallPtr& call, InferenceCall part,
                    std::function<void(const absl::StatusOr<InferenceReply>&)> then) {
  part.base_digest = call->in.base_digest;
  part.adapter_digest = call->in.adapter_digest;
  part.deadline = call->in.deadline;
  absl::MutexLock lock(&mutex_);
  if (!calls_.contains(call->id)) return;
  call->part =
      parts_.inference->Submit(std::move(part), [this, then = std::move(then)](absl::StatusOr<InferenceReply> reply) {
        parts_.workers->Post([then, reply = std::move(reply)] { then(reply); });
      });
}

bool Summaries::Alive(const CallPtr& call) {
  absl::MutexLock lock(&mutex_);
  return calls_.contains(call->id);
}

// How an adapter chooses sentences is its own to say, unless the caller does.
void Summaries::AskScorer(const CallPtr& call) {
  const std::optional<Method> method = call->in.extractive.value_or(ExtractiveChoice()).method;
  if (call->in.adapter_digest.empty() || method.value_or(Method::kScorer) != Method::kScorer) {
    return BeginExtractive(call, std::nullopt);
  }
  Ask(call, InferenceCall(), [this, call, method](const absl::StatusOr<InferenceReply>& reply) {
    if (!reply.ok()) return End(call, reply.status());
    if (method.has_value() && !reply->adapter.sentence_scorer.has_value()) return End(call, NoScorer());
    BeginExtractive(call, reply->adapter.sentence_scorer);
  });
}

void Summaries::BeginExtractive(const CallPtr& call, const std::optional<formats::SentenceScorer>& scorer) {
  const ExtractiveChoice choice = call->in.extractive.value_or(ExtractiveChoice());
  call->output = ExtractiveSummary::OutputFor(choice, scorer);
  for (size_t i = 0; i < call->in.texts.size(); ++i) {
    if (!Alive(call)) return;
    auto one = ExtractiveSummary::Make(call->in.texts[i], choice, scorer, splitter_);
    if (!one.ok())
      return End(call, TenonError(GetReason(one.status()), std::string(one.status().message()),
                                  absl::StrCat("texts[", i, "]")));
    call->extractive.push_back(*std::move(one));
  }
  if (choice.relevance.has_value() && !call->extractive.front().weighs_relevance()) {
    call->reply.ignored_options.push_back("extractive.relevance");
  }
  call->read.resize(call->extractive.size());
  ReadSentences(call);
}

// A part at a time: a long text's thousands of rows must not stand before everybody else's.
void Summaries::ReadSentences(const CallPtr& call) {
  constexpr size_t kRowsAtATime = 256;
  const std::string separator = call->base->tokenizer().separator();
  InferenceCall part{.output = call->output};
  std::vector<size_t> texts;  // that the part's rows are of
  while (call->next_text < call->extractive.size() && part.texts.size() < kRowsAtATime) {
    const ExtractiveSummary& one = call->extractive[call->next_text];
    if (call->next_sentence < one.inputs()) {
      part.texts.push_back(one.Input(call->next_sentence++, separator));
      texts.push_back(call->next_text);
    } else {
      ++call->next_text;
      call->next_sentence = 0;
    }
  }
  // Without sentences to read, the first part only makes sure of the adapter.
  Ask(call, std::move(part), [this, call, texts = std::move(texts)](const absl::StatusOr<InferenceReply>& reply) {
    if (!reply.ok()) return End(call, OfText(reply.status(), texts));
    for (size_t i = 0; i < texts.size(); ++i) call->read[texts[i]].push_back(reply->rows[i]);
    call->reply.queue_time += reply->queue_time;
    call->reply.compute_time += reply->compute_time;
    if (const absl::Status status = Choose(call, *reply); !status.ok()) return End(call, status);
    if (call->reply.rows.size() == call->extractive.size()) return End(call, absl::OkStatus());
    ReadSentences(call);
  });
}

// The summaries of those texts whose sentences are all read.
absl::Status Summaries::Choose(const CallPtr& call, const InferenceReply& reply) {
  const int64_t own = reply.adapter.max_input_tokens;
  const int64_t limit = own > 0 ? own : call->base->default_max_tokens();
  const auto too_long = [&](const std::string& sentence) {
    return call->base->tokenizer().Encode(sentence, limit).truncated;
  };
  for (size_t i = call->reply.rows.size(); i < call->extractive.size(); ++i) {
    if (call->read[i].size() < call->extractive[i].inputs()) break;
    ASSIGN_OR_RETURN(SummaryRow row, call->extractive[i].Choose(call->read[i], too_long));
    call->reply.rows.push_back(std::move(row));
    call->read[i] = {};
  }
  return absl::OkStatus();
}

// How long a text may be is the adapter's to say.
void Summaries::AskAdapter(const CallPtr& call) {
  Ask(call, InferenceCall(), [this, call](const absl::StatusOr<InferenceReply>& reply) {
    if (!reply.ok()) return End(call, reply.status());
    const int64_t own = reply->adapter.max_input_tokens, most = call->base->max_tokens();
    int64_t limit = own > 0 ? own : call->base->default_max_tokens();
    if (call->in.max_input_tokens > 0) limit = call->in.max_input_tokens;
    BeginRounds(call, most > 0 ? std::min(limit, most - reply->virtual_tokens) : limit);
  });
}

void Summaries::BeginRounds(const CallPtr& call, int64_t max_tokens) {
  if (!call->in.frame.has_value()) call->in.frame = {call->base->summary_prefix(), ""};
  const auto count = [base = call->base, frame = *call->in.frame](const std::string& text) {
    const engine::Encoding encoding = base->generative_tokenizer().Encode(absl::StrCat(frame.before, text, frame.after),
                                                                          std::numeric_limits<int32_t>::max());
    return static_cast<int64_t>(encoding.ids.size());
  };
  for (const std::string& text : call->in.texts) {
    call->rounds.emplace_back(
        text, SummaryRounds::Options{.max_tokens = max_tokens, .combine = call->in.combine_chunks}, count, &splitter_);
  }
  call->reply.rows.resize(call->in.texts.size());
  NextRound(call);
}

void Summaries::NextRound(const CallPtr& call) {
  GenerationCall part{.base_digest = call->in.base_digest,
                      .adapter_digest = call->in.adapter_digest,
                      .options = call->in.options.value_or(engine::GenerationOptions()),
                      .defaults = call->base->summary_defaults(),
                      .bad_words = call->in.bad_words,
                      .max_input_tokens = call->in.max_input_tokens,
                      .deadline = call->in.deadline};
  part.options.num_return_sequences = 1;
  part.options.return_scores = false;
  call->asked.clear();
  for (SummaryRounds& one : call->rounds) {
    const std::vector<std::string> pieces = one.Next();
    call->asked.push_back(pieces.size());
    for (const std::string& piece : pieces) {
      part.texts.push_back(absl::StrCat(call->in.frame->before, piece, call->in.frame->after));
    }
  }
  if (part.texts.empty()) {
    for (size_t i = 0; i < call->rounds.size(); ++i) call->reply.rows[i].summary = call->rounds[i].summary();
    return End(call, absl::OkStatus());
  }
  GenerationCallbacks callbacks;
  callbacks.done = [this, call](absl::StatusOr<GenerationReply> reply) {
    parts_.workers->Post([this, call, reply = std::move(reply)] { TakeRound(call, reply); });
  };
  absl::MutexLock lock(&mutex_);
  if (calls_.contains(call->id)) call->part = parts_.generation->Submit(std::move(part), std::move(callbacks));
}

void Summaries::TakeRound(const CallPtr& call, const absl::StatusOr<GenerationReply>& reply) {
  if (!reply.ok()) return End(call, reply.status());
  auto from = reply->rows.begin();
  for (size_t i = 0; i < call->rounds.size(); ++i) {
    SummaryRow& row = call->reply.rows[i];
    std::vector<std::string> summaries;
    for (size_t piece = 0; piece < call->asked[i]; ++piece, ++from) {
      summaries.push_back(from->sequences.empty() ? "" : from->sequences.front().text);
      row.input_tokens += from->input_tokens;
      row.output_tokens += from->output_tokens;
      row.truncated = row.truncated || from->truncated;
    }
    if (!summaries.empty()) call->rounds[i].Take(summaries);
  }
  for (const std::string& name : reply->ignored_options) {  // every round says the same
    std::vector<std::string>& all = call->reply.ignored_options;
    if (std::find(all.begin(), all.end(), name) == all.end()) all.push_back(name);
  }
  call->reply.queue_time += reply->queue_time;
  call->reply.compute_time += reply->compute_time;
  NextRound(call);
}

}  // namespace tenon::runtime
