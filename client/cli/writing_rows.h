// Rows that a model writes something for, batch by batch: what `generate` and `summarize` share.
#pragma once

#include <string>
#include <vector>

#include "client/cli/command.h"
#include "client/cli/generation_flags.h"
#include "client/cli/inference_rows.h"
#include "client/cli/output.h"

namespace tenon::cli {

// A call's rows: writing takes long, so that calls are small and the first answers come soon.
inline constexpr size_t kWritingRows = 16;
inline constexpr size_t kWritingBytes = 256 << 10;
inline constexpr size_t kWritingCalls = 4;  // in flight

// Sends `model` with each batch of rows to `method`, and shows what `answers` takes out of the response: a line of JSON
// for each, or what `show` prints or puts into `table`, which is printed at the end, then the notes.
template <typename Response, typename Request, typename Method, typename Answers, typename Show>
absl::Status WriteRows(Cli& cli, const std::vector<InputRow>& rows, const Request& model, Method method,
                       const Answers& answers, const Show& show, const Table& table) {
  GenerationNotes notes;
  const auto call = [&](absl::Span<const InputRow> batch) {
    Request request = model;
    for (const InputRow& row : batch) request.add_texts(row.text);
    return cli.client().Call(cli.client().inference(), method, request);
  };
  const auto take = [&](absl::Span<const InputRow> batch, const Response& response) {
    notes.AddIgnored(response.ignored_options());
    const auto& written = answers(response);
    for (size_t i = 0; i < batch.size() && static_cast<int>(i) < written.size(); ++i) {
      const auto& answer = written.Get(static_cast<int>(i));
      notes.AddRow(answer.truncated());
      if (cli.json()) {
        PrintRow(RowJson(batch[i], answer, response.model(), {answer.input_tokens(), answer.output_tokens()}));
      } else {
        show(batch[i], answer);
      }
    }
  };
  RETURN_IF_ERROR(
      ForEachBatch<Response>(CutBatches(rows, kWritingRows, kWritingBytes), kWritingCalls, cli.calls(), call, take));
  if (cli.json()) return absl::OkStatus();
  if (!table.empty()) Print(table.ToString());
  if (const std::string text = notes.ToString(); !text.empty()) PrintNote(text);
  return absl::OkStatus();
}

}  // namespace tenon::cli
