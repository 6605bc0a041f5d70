// What waits to be written on a Work stream. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "tenon/internal/v1/worker_link_service.pb.h"
#include "worker/runtime/runtime.h"
#include "worker/runtime/span_calls.h"

namespace tenon::link {

// Messages go out one at a time, those of a call in order: its deltas, then its result. Deltas that wait are one: a
// peer that reads slowly costs as much memory as the texts are long, and whoever adds never waits. Not thread-safe.
class Outbox {
 public:
  // What a call asked for, as far as its result depends on it.
  struct Asked {
    internal::v1::InferenceKind kind;
    bool has_adapter = false;
  };
  using Reply = std::variant<absl::StatusOr<runtime::InferenceReply>, absl::StatusOr<runtime::GenerationReply>,
                             absl::StatusOr<runtime::SummaryReply>, absl::StatusOr<runtime::TagReply>,
                             absl::StatusOr<runtime::AnswerReply>>;
  struct Result {
    uint64_t call_id = 0;
    Asked asked;
    Reply reply;
  };
  using Message = std::variant<internal::v1::GenerationDelta, Result>;

  void AddDelta(uint64_t call_id, const std::string& text);
  void AddResult(Result result);
  // Forgets what waits of a call.
  void Drop(uint64_t call_id);

  bool empty() const { return order_.empty(); }
  std::optional<Message> Next();
  // A message as it is written.
  static internal::v1::WorkRequest ToRequest(Message message);

 private:
  struct Waiting {
    std::string delta;
    std::optional<Result> result;
  };
  std::deque<uint64_t> order_;  // calls with something to write, each once
  std::map<uint64_t, Waiting> waiting_;
};

}  // namespace tenon::link
