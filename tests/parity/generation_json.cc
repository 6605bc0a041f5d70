#include "tests/parity/generation_json.h"

#include <map>
#include <utility>
#include <vector>

#include "common/formats/status.h"
#include "worker/engine/generate/generation_batch.h"
#include "worker/engine/generate/generation_config.h"

namespace tenon::engine {

using Json = nlohmann::json;

Json ErrorOf(const absl::Status& status) {
  return {
      {"error", std::string(status.message())}, {"reason", ReasonName(GetReason(status))}, {"field", GetField(status)}};
}

namespace {

Json ReplyOf(const std::vector<GeneratedSequence>& sequences, const GenerationPlan& plan) {
  static const char* const kReasons[] = {"eos", "stop_string", "length", "exhausted"};
  Json list = Json::array();
  for (const GeneratedSequence& one : sequences) {
    list.push_back({{"tokens", one.tokens},
                    {"log_probs", one.log_probs},
                    {"score", one.score},
                    {"reason", kReasons[static_cast<int>(one.reason)]}});
  }
  return {{"sequences", list}, {"ignored", plan.ignored}};
}

absl::StatusOr<GenerationRequest> RequestOf(const GenerationBench& bench, const Json& wanted,
                                            const GenerationOptions& base, int64_t max_lines) {
  ASSIGN_OR_RETURN(GenerationOptions options, ParseGenerationConfig(wanted.at("options").dump(), "options"));
  if (wanted.contains("do_sample")) options.do_sample = wanted.at("do_sample").get<bool>();
  if (wanted.contains("seed")) options.seed = wanted.at("seed").get<uint64_t>();
  options.return_scores = true;
  GenerationRequest request;
  request.source = wanted.at("source").get<std::vector<int32_t>>();
  request.prefix = wanted.at("prefix").get<std::vector<int32_t>>();
  GenerationLimits limits;
  limits.vocab_size = bench.vocab_size;
  limits.prefix_tokens = static_cast<int64_t>(request.prefix.size());
  limits.max_lines = max_lines;
  ASSIGN_OR_RETURN(request.plan, MakePlan(options, base, limits));
  const std::string adapter = wanted.value("adapter", "");
  if (!adapter.empty()) request.adapter = bench.adapter(adapter);
  return request;
}

}  // namespace

absl::StatusOr<Json> RunGenerations(const GenerationBench& bench, const Json& command) {
  ASSIGN_OR_RETURN(const GenerationOptions base,
                   ParseGenerationConfig(command.value("base", Json::object()).dump(), "base"));
  GenerationBatch::Options options;
  options.max_lines = command.value("max_lines", 64);
  options.max_tokens = int64_t{1} << 40;
  const size_t joins = command.value("join", size_t{1} << 20);
  ASSIGN_OR_RETURN(std::unique_ptr<Decoder> decoder, bench.decoder());
  GenerationBatch batch(std::move(decoder), options);
  const Json& wanted = command.at("requests");
  std::vector<Json> replies(wanted.size());
  std::map<uint64_t, GenerationPlan> plans;
  for (size_t next = 0; next < wanted.size() || batch.requests() > 0;) {
    std::vector<GenerationRequest> joining;
    int64_t lines = batch.reserved_lines();
    while (next < wanted.size() && joining.size() < joins) {
      auto request = RequestOf(bench, wanted[next], base, options.max_lines);
      if (!request.ok()) {
        replies[next++] = ErrorOf(request.status());
        continue;
      }
      lines += request->plan.max_lines();
      if (lines > options.max_lines) break;
      request->id = next++;
      plans[request->id] = request->plan;
      joining.push_back(*std::move(request));
    }
    if (!joining.empty()) RETURN_IF_ERROR(batch.Join(std::move(joining)));
    ASSIGN_OR_RETURN(const std::vector<GenerationEvent> events, batch.Step());
    for (const GenerationEvent& event : events) {
      if (!event.finite) return absl::InternalError("the model's numbers are not finite");
      if (event.finished) replies[event.id] = ReplyOf(event.sequences, plans.at(event.id));
    }
  }
  return Json{{"replies", replies}};
}

}  // namespace tenon::engine
