// The rows of an evaluation of written texts, as one model reads them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/adapter/adapter.h"
#include "worker/engine/evaluate/seq2seq.h"
#include "worker/runtime/runtime.h"

namespace tenon::runtime {

struct Seq2SeqInput {
  std::vector<int32_t> source, target;  // tokens, with their ends
  std::string reference;                // the target's whole text
};

// Every row by the job's template, else the adapter's own; `adapter` is null for the base alone. FIELD_REQUIRED without
// a template; an error of a row names it, as `row 3`. CANCELLED once `cancelled` says so.
absl::StatusOr<std::vector<Seq2SeqInput>> ReadSeq2SeqRows(const Seq2SeqEvalJob& job, const engine::Base& base,
                                                          const engine::HostAdapter* adapter,
                                                          const engine::Seq2SeqEvaluator& evaluator,
                                                          const std::function<bool()>& cancelled);

// The same error, of this row (from 0).
absl::Status OfRow(const absl::Status& status, size_t row);

}  // namespace tenon::runtime
