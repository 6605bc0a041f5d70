#include "worker/link/outbox.h"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

#include "worker/link/convert.h"
#include "worker/link/convert_generation.h"
#include "worker/link/convert_spans.h"

namespace tenon::link {
namespace {

internal::v1::InferenceResult Convert(const Outbox::Result& result) {
  return std::visit(
      [&](const auto& reply) {
        using Reply = typename std::decay_t<decltype(reply)>::value_type;
        if constexpr (std::is_same_v<Reply, runtime::InferenceReply>) {
          return ToResult(result.call_id, result.asked.kind, result.asked.has_adapter, reply);
        } else {
          return ToResult(result.call_id, reply);
        }
      },
      result.reply);
}

}  // namespace

void Outbox::AddDelta(uint64_t call_id, const std::string& text) {
  const auto [place, is_new] = waiting_.try_emplace(call_id);
  if (is_new) order_.push_back(call_id);
  place->second.delta += text;
}

void Outbox::AddResult(Result result) {
  const uint64_t id = result.call_id;
  const auto [place, is_new] = waiting_.try_emplace(id);
  if (is_new) order_.push_back(id);
  place->second.result = std::move(result);
}

void Outbox::Drop(uint64_t call_id) {
  if (waiting_.erase(call_id) > 0) order_.erase(std::find(order_.begin(), order_.end(), call_id));
}

std::optional<Outbox::Message> Outbox::Next() {
  if (order_.empty()) return std::nullopt;
  const uint64_t id = order_.front();
  Waiting& first = waiting_.at(id);
  if (!first.delta.empty()) {
    internal::v1::GenerationDelta delta;
    delta.set_call_id(id);
    delta.set_text(std::exchange(first.delta, {}));
    if (first.result.has_value()) return delta;  // which is next
    waiting_.erase(id);
    order_.pop_front();
    return delta;
  }
  Result result = *std::move(first.result);
  waiting_.erase(id);
  order_.pop_front();
  return result;
}

internal::v1::WorkRequest Outbox::ToRequest(Message message) {
  internal::v1::WorkRequest request;
  if (auto* delta = std::get_if<internal::v1::GenerationDelta>(&message)) {
    *request.mutable_delta() = std::move(*delta);
  } else {
    *request.mutable_result() = Convert(std::get<Result>(message));
  }
  return request;
}

}  // namespace tenon::link
