#include "worker/engine/generate/constraints.h"

#include <algorithm>

namespace tenon::engine {
namespace {

void Append(std::vector<int32_t>& to, const std::vector<int32_t>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

// An n-gram comes again when the line's last n-1 tokens are followed by what followed them before.
void BanNGrams(absl::Span<const int32_t> tokens, size_t n, std::vector<int32_t>& banned) {
  if (tokens.size() < n) return;
  const absl::Span<const int32_t> last = tokens.subspan(tokens.size() - (n - 1));
  for (size_t i = 0; i + n <= tokens.size(); ++i) {
    if (tokens.subspan(i, n - 1) == last) banned.push_back(tokens[i + n - 1]);
  }
}

void BanWords(absl::Span<const int32_t> tokens, const std::vector<std::vector<int32_t>>& words,
              std::vector<int32_t>& banned) {
  for (const std::vector<int32_t>& word : words) {
    const size_t begin = word.size() - 1;
    if (begin > tokens.size()) continue;
    const absl::Span<const int32_t> last = tokens.subspan(tokens.size() - begin);
    if (std::equal(last.begin(), last.end(), word.begin())) banned.push_back(word.back());
  }
}

}  // namespace

Constraints ConstraintsOf(const GenerationPlan& plan, absl::Span<const int32_t> tokens) {
  const int64_t length = static_cast<int64_t>(tokens.size());
  Constraints found;
  if (plan.repetition_penalty != 1) {
    found.repeated.assign(tokens.begin(), tokens.end());
    std::sort(found.repeated.begin(), found.repeated.end());
    found.repeated.erase(std::unique(found.repeated.begin(), found.repeated.end()), found.repeated.end());
  }
  if (plan.no_repeat_ngram_size > 0) BanNGrams(tokens, static_cast<size_t>(plan.no_repeat_ngram_size), found.banned);
  BanWords(tokens, plan.bad_words, found.banned);
  if (length < plan.min_length) Append(found.banned, plan.eos_token_ids);
  if (length == 1 && plan.forced_bos_token_id >= 0) found.forced = {plan.forced_bos_token_id};
  if (length == plan.max_length - 1 && !plan.forced_eos_token_ids.empty()) found.forced = plan.forced_eos_token_ids;
  found.suppressed = plan.suppress_tokens;
  // A forced first token of the reply moves its beginning by one.
  const bool forced_first = plan.prefix_tokens == 1 && plan.forced_bos_token_id >= 0;
  if (length == plan.prefix_tokens + (forced_first ? 1 : 0)) Append(found.suppressed, plan.begin_suppress_tokens);
  return found;
}

}  // namespace tenon::engine
