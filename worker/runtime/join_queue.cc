#include "worker/runtime/join_queue.h"

#include <utility>

namespace tenon::runtime {

void JoinQueue::Add(uint64_t call, AdapterId adapter, int64_t lines, const std::vector<int32_t>& tokens) {
  Call entry{adapter, lines, 0, {}};
  for (size_t i = 0; i < tokens.size(); ++i) {
    entry.rows.push_back({call, static_cast<int32_t>(i), tokens[i], adapter});
    tokens_ += tokens[i];
  }
  rows_ += static_cast<int64_t>(tokens.size());
  calls_[call] = std::move(entry);
}

void JoinQueue::Remove(uint64_t call) {
  const auto found = calls_.find(call);
  if (found == calls_.end()) return;
  for (const Row& row : found->second.rows) tokens_ -= row.tokens;
  rows_ -= static_cast<int64_t>(found->second.rows.size());
  calls_.erase(found);
}

std::optional<JoinQueue::Row> JoinQueue::Next(const Ready& ready) const {
  const Call* next = nullptr;
  for (const auto& [id, call] : calls_) {
    if (call.rows.empty()) continue;
    if (next != nullptr && call.running * call.lines >= next->running * next->lines) continue;
    if (ready(call.adapter)) next = &call;
  }
  if (next == nullptr) return std::nullopt;
  return next->rows.front();
}

void JoinQueue::Take(const Row& row) {
  Call& call = calls_.at(row.call);
  call.rows.pop_front();
  ++call.running;
  --rows_;
  tokens_ -= row.tokens;
}

void JoinQueue::PutBack(const Row& row) {
  const auto found = calls_.find(row.call);
  if (found == calls_.end()) return;
  found->second.rows.push_front(row);
  --found->second.running;
  ++rows_;
  tokens_ += row.tokens;
}

void JoinQueue::Left(uint64_t call) {
  if (const auto found = calls_.find(call); found != calls_.end()) --found->second.running;
}

}  // namespace tenon::runtime
