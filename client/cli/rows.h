// Input rows of classify, embed and retrieve, and the calls that carry them in batches.
#pragma once

#include <deque>
#include <functional>
#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/calls.h"
#include "common/formats/status.h"

namespace tenon::cli {

struct InputRow {
  int64_t number = 0;         // from 1, blank lines not counted
  nlohmann::ordered_json id;  // as it was written; null when there is none
  std::string text;
  std::string text_pair;           // the second text of a pair, or a question's context; empty: there is none
  std::vector<std::string> words;  // of a text that is cut into words already
};

// Whole file, `-` for standard input.
absl::StatusOr<std::string> ReadInput(const std::string& file);
// JSON lines with perhaps `id`, of whose other fields `take` makes a row. Errors name the row; blank lines are passed
// over.
absl::StatusOr<std::vector<InputRow>> ParseRows(
    const std::string& bytes,
    const std::function<absl::Status(const nlohmann::ordered_json& value, InputRow* row)>& take);
// JSON lines with `text` and perhaps `id` and, with `pairs`, `text_pair`. Errors name the row; blank lines are passed
// over.
absl::StatusOr<std::vector<InputRow>> ParseTextRows(const std::string& bytes, bool pairs = false);
// The command's own texts, or the rows of `file`; exactly one of the two must be given.
absl::StatusOr<std::vector<InputRow>> TextRows(const std::vector<std::string>& texts, const std::string& file,
                                               bool pairs = false);

// An error in `texts[3]`, `text_pairs[3]`, `queries[3]`, `words[3]` or `questions[3]` of a batch, told by the input's
// own row.
absl::Status NameRow(const absl::Status& status, absl::Span<const InputRow> batch);

// Cuts rows into batches of at most `max_rows` rows and about `max_bytes` bytes of text.
std::vector<absl::Span<const InputRow>> CutBatches(const std::vector<InputRow>& rows, size_t max_rows,
                                                   size_t max_bytes);

// Answers `call()`, asked again for about half a minute while the server's queue is full or until Ctrl-C.
template <typename Call>
auto CallWithPatience(client::Calls& calls, const Call& call) {
  auto response = call();
  for (int attempt = 1; attempt <= 6 && GetReason(response.status()) == Reason::kQueueFull; ++attempt) {
    if (calls.WaitForCancel(absl::Milliseconds(250) * (1 << attempt))) break;
    response = call();
  }
  return response;
}

// Calls `call` for every batch, `in_flight` at a time, and `take` with the replies in the order of the input. A full
// queue is waited for. The first other error ends it, and with it all of `calls`: those under way, which would be
// waited for, and later ones.
template <typename Response>
absl::Status ForEachBatch(const std::vector<absl::Span<const InputRow>>& batches, size_t in_flight,
                          client::Calls& calls,
                          const std::function<absl::StatusOr<Response>(absl::Span<const InputRow>)>& call,
                          const std::function<void(absl::Span<const InputRow>, const Response&)>& take) {
  const auto patient_call = [&](absl::Span<const InputRow> batch) {
    return CallWithPatience(calls, [&] { return call(batch); });
  };
  std::deque<std::future<absl::StatusOr<Response>>> flying;
  size_t next = 0;
  for (size_t done = 0; done < batches.size(); ++done) {
    while (next < batches.size() && flying.size() < in_flight) {
      flying.push_back(std::async(std::launch::async, patient_call, batches[next++]));
    }
    absl::StatusOr<Response> response = flying.front().get();
    flying.pop_front();
    if (!response.ok()) {
      calls.Cancel();
      return NameRow(response.status(), batches[done]);
    }
    take(batches[done], *response);
  }
  return absl::OkStatus();
}

}  // namespace tenon::cli
