#include "server/app/documents_embed.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/formats/status.h"
#include "common/status_proto.h"

namespace tenon::server {
namespace {

constexpr size_t kRowsACall = 64;
constexpr size_t kBytesACall = 256 << 10;
// Enough to keep a worker busy, few enough to leave room in its queue for others.
constexpr size_t kCallsInFlight = 8;

// How often a caller that cannot tell of its end is asked whether it has come.
constexpr absl::Duration kPoll = absl::Milliseconds(100);

// Rows [begin, end) of the texts.
struct Part {
  size_t begin = 0;
  size_t end = 0;
};

std::vector<Part> Split(const std::vector<std::string>& texts) {
  std::vector<Part> parts;
  size_t bytes = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const bool full = !parts.empty() && (i - parts.back().begin >= kRowsACall || bytes + texts[i].size() > kBytesACall);
    if (parts.empty() || full) {
      parts.push_back({i, i});
      bytes = 0;
    }
    parts.back().end = i + 1;
    bytes += texts[i].size();
  }
  return parts;
}

// What callbacks write to; they may outlive the run that made them.
struct Answers {
  using Answer = absl::StatusOr<internal::v1::InferenceResult>;
  absl::Mutex mutex;
  std::vector<std::pair<size_t, Answer>> arrived ABSL_GUARDED_BY(mutex);
  bool cancelled ABSL_GUARDED_BY(mutex) = false;
};

absl::Status TakeRows(const Part& part, int dimensions, const internal::v1::InferenceResult& result,
                      Embeddings* embeddings) {
  if (result.has_error()) return FromErrorProto(result.error());
  if (result.rows_size() != static_cast<int>(part.end - part.begin)) {
    return absl::InternalError(
        absl::StrCat("a worker answered ", result.rows_size(), " of ", part.end - part.begin, " rows"));
  }
  for (int i = 0; i < result.rows_size(); ++i) {
    const auto& values = result.rows(i).values();
    if (values.size() != dimensions) {
      return absl::InternalError(absl::StrCat("a worker sent ", values.size(), " dimensions, not ", dimensions));
    }
    if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); })) {
      return absl::InternalError("a worker sent a vector that is not finite");
    }
    embeddings->vectors[part.begin + i].assign(values.begin(), values.end());
  }
  embeddings->input_tokens += result.input_tokens();
  return absl::OkStatus();
}

InferenceCall MakeCall(const CallScope& scope, const internal::v1::CollectionRecord& record) {
  const v1::Collection& collection = record.collection();
  InferenceCall call;
  call.tenant = scope.tenant;
  call.base_digest = collection.model().base_digest();
  call.adapter.set_digest(collection.model().revision());
  *call.adapter.mutable_files() = record.adapter_files();
  call.kind = internal::v1::INFERENCE_KIND_EMBED;
  call.pooling = collection.pooling();
  call.deadline = scope.deadline;
  return call;
}

}  // namespace

absl::StatusOr<Embeddings> EmbedTexts(InferenceRouter& router, const CallScope& scope,
                                      const internal::v1::CollectionRecord& collection,
                                      std::vector<std::string> texts) {
  Embeddings embeddings;
  embeddings.vectors.resize(texts.size());
  const std::vector<Part> parts = Split(texts);
  auto answers = std::make_shared<Answers>();
  if (scope.when_cancelled) {
    scope.when_cancelled([answers] {
      absl::MutexLock lock(&answers->mutex);
      answers->cancelled = true;
    });
  }

  std::map<size_t, uint64_t> in_flight;  // part -> call
  size_t next = 0;
  absl::Status status;
  while (status.ok() && (next < parts.size() || !in_flight.empty())) {
    while (next < parts.size() && in_flight.size() < kCallsInFlight) {
      InferenceCall call = MakeCall(scope, collection);
      call.texts.assign(std::make_move_iterator(texts.begin() + parts[next].begin),
                        std::make_move_iterator(texts.begin() + parts[next].end));
      in_flight[next] = router.Submit(std::move(call), [answers, part = next](Answers::Answer answer) {
        absl::MutexLock lock(&answers->mutex);
        answers->arrived.emplace_back(part, std::move(answer));
      });
      ++next;
    }
    std::vector<std::pair<size_t, Answers::Answer>> arrived;
    {
      absl::MutexLock lock(&answers->mutex);
      const auto awaited = [&answers]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(answers->mutex) {
        return answers->cancelled || !answers->arrived.empty();
      };
      const absl::Condition arrival(&awaited);
      while (!answers->mutex.AwaitWithTimeout(arrival, scope.when_cancelled ? absl::InfiniteDuration() : kPoll)) {
        if (scope.cancelled && scope.cancelled()) answers->cancelled = true;
      }
      arrived.swap(answers->arrived);
      if (answers->cancelled) status = TenonError(Reason::kCancelled, "the call was cancelled");
    }
    for (const auto& [part, answer] : arrived) {
      in_flight.erase(part);
      if (!status.ok()) continue;
      status = answer.ok() ? TakeRows(parts[part], collection.collection().dimensions(), *answer, &embeddings)
                           : answer.status();
    }
  }
  for (const auto& [part, call] : in_flight) router.Cancel(call);
  RETURN_IF_ERROR(status);
  return embeddings;
}

}  // namespace tenon::server
