// Tokens that a call is charged, for fairness among tenants and against a worker's credits: an estimate when it is
// sent, and what the worker counted once it answered.
#pragma once

#include <cstdint>

#include "server/dispatch/inference.h"

namespace tenon::server {

// Tokens charged for a reply whose length the request leaves to the base, and for the longest: most replies end long
// before their limit, and a worker that is charged for all it might write would run half empty.
inline constexpr int64_t kDefaultReplyCharge = 64;
inline constexpr int64_t kMaxReplyCharge = 128;

// Before anybody counted: bytes / 4 of each text and what stands around it, at least one a text and one a call.
// GENERATE and SUMMARIZE add what may be written: for each text and each of its lines (beams, or sampled sequences) the
// length asked for, within the bounds above.
int64_t ChargeOf(const InferenceCall& call);

// What the worker counted: tokens read and written, a beam search's by the number of its beams. 0 for an answer that
// does not say.
int64_t TokensOf(const InferenceCall& call, const internal::v1::InferenceResult& result);

}  // namespace tenon::server
