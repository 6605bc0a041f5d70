#include "worker/runtime/slice_policy.h"

#include <algorithm>

namespace tenon::runtime {

SlicePolicy::SlicePolicy(double floor, absl::Duration max_debt)
    : floor_(std::clamp(floor, 0.0, 0.9)), max_debt_(max_debt) {}

void SlicePolicy::AddJob(uint64_t job) {
  // A newcomer starts level with the job that has used least: it neither waits for the others' past nor is made to pay
  // for it.
  absl::Duration least = absl::InfiniteDuration();
  for (const auto& [other, used] : used_) least = std::min(least, used);
  used_[job] = used_.empty() ? absl::ZeroDuration() : least;
}

void SlicePolicy::RemoveJob(uint64_t job) { used_.erase(job); }

SlicePolicy::Choice SlicePolicy::Next(bool inference_ready, const std::vector<uint64_t>& ready) const {
  if (inference_ready && (ready.empty() || debt_ <= absl::ZeroDuration())) return {Kind::kInference, 0};
  if (ready.empty()) return {};
  const auto used = [this](uint64_t job) {
    const auto found = used_.find(job);
    return found == used_.end() ? absl::ZeroDuration() : found->second;
  };
  return {Kind::kBackground, *std::min_element(ready.begin(), ready.end(), [&](uint64_t a, uint64_t b) {
            return std::make_pair(used(a), a) < std::make_pair(used(b), b);
          })};
}

void SlicePolicy::Account(const Choice& choice, absl::Duration took, bool other_waited) {
  if (choice.kind == Kind::kBackground) {
    if (const auto found = used_.find(choice.job); found != used_.end()) found->second += took;
  }
  if (!other_waited) return;
  debt_ += choice.kind == Kind::kInference ? took * floor_ : -took * (1 - floor_);
  debt_ = std::clamp(debt_, -max_debt_, max_debt_);
}

}  // namespace tenon::runtime
