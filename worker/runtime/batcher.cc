#include "worker/runtime/batcher.h"

#include <algorithm>
#include <tuple>

namespace tenon::runtime {

void Batcher::Add(uint64_t call, uint64_t base, AdapterId adapter, const std::vector<int32_t>& tokens) {
  if (tokens.empty()) return;
  Call entry{call, base, adapter, {}};
  entry.rows.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    entry.rows.push_back({call, static_cast<int32_t>(i), tokens[i], adapter});
    tokens_ += tokens[i];
  }
  rows_ += static_cast<int64_t>(tokens.size());
  std::sort(entry.rows.begin(), entry.rows.end(),
            [](const Row& a, const Row& b) { return std::tie(a.tokens, b.index) < std::tie(b.tokens, a.index); });
  by_id_[call] = calls_.insert(calls_.end(), std::move(entry));
}

void Batcher::Remove(uint64_t call) {
  const auto found = by_id_.find(call);
  if (found == by_id_.end()) return;
  for (const Row& row : found->second->rows) tokens_ -= row.tokens;
  rows_ -= static_cast<int64_t>(found->second->rows.size());
  calls_.erase(found->second);
  by_id_.erase(found);
}

bool Batcher::HasReady(const Ready& ready) const {
  return std::any_of(calls_.begin(), calls_.end(), [&](const Call& call) { return ready(call.adapter); });
}

bool Batcher::Full(const Batch& batch) const {
  return batch.tokens >= options_.max_tokens || static_cast<int64_t>(batch.rows.size()) >= options_.max_rows;
}

// Moves rows of `call` into the batch while they fit both the batch and the call's allowance of tokens. The first row
// of a batch always fits: a text may be longer than the budget.
void Batcher::Take(Call& call, int64_t allowance, Batch& batch) {
  int64_t taken = 0;
  while (!call.rows.empty() && !Full(batch)) {
    const Row& row = call.rows.back();
    const bool first = batch.rows.empty();
    if (!first && (taken + row.tokens > allowance || batch.tokens + row.tokens > options_.max_tokens)) return;
    taken += row.tokens;
    batch.tokens += row.tokens;
    tokens_ -= row.tokens;
    --rows_;
    batch.rows.push_back(row);
    call.rows.pop_back();
  }
}

Batcher::Batch Batcher::Next(const Ready& ready) {
  Batch batch;
  const auto oldest = std::find_if(calls_.begin(), calls_.end(), [&](const Call& call) { return ready(call.adapter); });
  if (oldest == calls_.end()) return batch;
  batch.base = oldest->base;
  Take(*oldest, options_.max_tokens / 2, batch);
  for (const int64_t allowance : {options_.max_tokens / 4, options_.max_tokens}) {
    for (auto call = calls_.begin(); call != calls_.end() && !Full(batch); ++call) {
      const bool skip = call == oldest && allowance != options_.max_tokens;
      if (!skip && call->base == batch.base && ready(call->adapter)) Take(*call, allowance, batch);
    }
  }
  for (auto call = oldest; call != calls_.end();) {
    if (call->rows.empty()) {
      by_id_.erase(call->id);
      call = calls_.erase(call);
    } else {
      ++call;
    }
  }
  std::sort(batch.rows.begin(), batch.rows.end(), [](const Row& a, const Row& b) {
    return std::tie(a.adapter, b.tokens, a.call, a.index) < std::tie(b.adapter, a.tokens, b.call, b.index);
  });
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    batch.distinct_adapters += i == 0 || batch.rows[i].adapter != batch.rows[i - 1].adapter;
  }
  return batch;
}

}  // namespace tenon::runtime
