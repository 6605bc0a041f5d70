#include "worker/runtime/generation_plan.h"

#include <algorithm>

#include "common/formats/status.h"

namespace tenon::runtime {

absl::StatusOr<engine::GenerationPlan> PlanGeneration(const engine::Base& base, const WantedGeneration& wanted) {
  engine::GenerationOptions asked = wanted.options;
  for (const std::string& word : wanted.bad_words) {
    asked.bad_words.push_back(base.generative_tokenizer().EncodePiece(word));
  }
  engine::GenerationLimits limits = base.generation_limits();
  limits.max_lines = std::min(limits.max_lines, wanted.max_lines);
  limits.streaming = wanted.stream;
  if (base.decoder_only()) {
    limits.prefix_tokens = wanted.prompt_tokens;
    limits.max_positions -= wanted.virtual_tokens;
  } else if (!base.generation_defaults().decoder_start_token_id.has_value()) {
    return TenonError(Reason::kBaseInvalid, "the base does not say its decoder_start_token_id",
                      "decoder_start_token_id");
  }
  return engine::MakePlan(asked, engine::Merge(wanted.defaults, base.generation_defaults()), limits);
}

absl::Span<const int32_t> SourceOf(const engine::Base& base, const std::vector<int32_t>& text) {
  const absl::Span<const int32_t> all(text);
  return base.decoder_only() && !all.empty() ? all.first(all.size() - 1) : all;
}

engine::GenerationRequest MakeGenerationRequest(const std::shared_ptr<const engine::Base>& base, uint64_t id,
                                                const std::vector<int32_t>& text, const engine::GenerationPlan& plan) {
  const absl::Span<const int32_t> source = SourceOf(*base, text);
  engine::GenerationRequest request;
  request.id = id;
  request.source.assign(source.begin(), source.end());
  request.prefix =
      base->decoder_only() ? text : std::vector<int32_t>{*base->generation_defaults().decoder_start_token_id};
  request.plan = plan;
  request.detokenize = [base](absl::Span<const int32_t> ids) { return base->generative_tokenizer().Decode(ids); };
  return request;
}

}  // namespace tenon::runtime
