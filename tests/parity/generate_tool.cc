// Generates from JSON lines, for generate_test.py: one object a line in, one out.
//
//   {"cmd": "toy", "file": F, "vocab": V}    the tables of tests/worker/engine/generate/toy_decoder.h     -> {}
//   {"cmd": "generate", "base": {...}, "max_lines": n, "join": k, "requests": [{"source", "prefix", "options": {...},
//    "do_sample", "seed"}]}  options are generation_config.json's; k requests join before each step, as far as they fit
//                                   -> {"replies": [{"sequences": [{"tokens", "log_probs", "score", "reason"}],
//                                   "ignored"}]}
// A request that is refused gives {"error", "reason", "field"} in its place; what else is wrong, instead of the reply.
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "tests/worker/engine/generate/toy_decoder.h"
#include "worker/engine/generate/generation_batch.h"
#include "worker/engine/generate/generation_config.h"

namespace tenon::engine {
namespace {

using Json = nlohmann::json;

Json ErrorOf(const absl::Status& status) {
  return {
      {"error", std::string(status.message())}, {"reason", ReasonName(GetReason(status))}, {"field", GetField(status)}};
}

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

class Tool {
 public:
  absl::StatusOr<Json> Run(const Json& command) {
    const std::string name = command.at("cmd");
    if (name == "toy") {
      toy_ = ToyModel::Read(command.at("file"), command.at("vocab"));
      return Json::object();
    }
    if (name == "generate") return Generate(command);
    return absl::InvalidArgumentError(absl::StrCat("no command ", name));
  }

 private:
  absl::StatusOr<GenerationRequest> RequestOf(const Json& wanted, const GenerationOptions& base,
                                              int64_t max_lines) const {
    ASSIGN_OR_RETURN(GenerationOptions options, ParseGenerationConfig(wanted.at("options").dump(), "options"));
    if (wanted.contains("do_sample")) options.do_sample = wanted.at("do_sample").get<bool>();
    if (wanted.contains("seed")) options.seed = wanted.at("seed").get<uint64_t>();
    options.return_scores = true;
    GenerationRequest request;
    request.source = wanted.at("source").get<std::vector<int32_t>>();
    request.prefix = wanted.at("prefix").get<std::vector<int32_t>>();
    GenerationLimits limits;
    limits.vocab_size = toy_.vocab;
    limits.prefix_tokens = static_cast<int64_t>(request.prefix.size());
    limits.max_lines = max_lines;
    ASSIGN_OR_RETURN(request.plan, MakePlan(options, base, limits));
    return request;
  }

  absl::StatusOr<Json> Generate(const Json& command) {
    ASSIGN_OR_RETURN(const GenerationOptions base,
                     ParseGenerationConfig(command.value("base", Json::object()).dump(), "base"));
    GenerationBatch::Options options;
    options.max_lines = command.value("max_lines", 64);
    options.max_tokens = int64_t{1} << 40;
    const size_t joins = command.value("join", size_t{1} << 20);
    GenerationBatch batch(std::make_unique<ToyDecoder>(toy_), options);
    const Json& wanted = command.at("requests");
    std::vector<Json> replies(wanted.size());
    std::map<uint64_t, GenerationPlan> plans;
    for (size_t next = 0; next < wanted.size() || batch.requests() > 0;) {
      std::vector<GenerationRequest> joining;
      int64_t lines = batch.reserved_lines();
      while (next < wanted.size() && joining.size() < joins) {
        auto request = RequestOf(wanted[next], base, options.max_lines);
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
        if (event.finished) replies[event.id] = ReplyOf(event.sequences, plans.at(event.id));
      }
    }
    return Json{{"replies", replies}};
  }

  ToyModel toy_;
};

int Main() {
  SetThreads(1);
  Tool tool;
  for (std::string line; std::getline(std::cin, line);) {
    const absl::StatusOr<Json> reply = tool.Run(Json::parse(line));
    std::cout << (reply.ok() ? *reply : ErrorOf(reply.status())).dump() << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace tenon::engine

int main() { return tenon::engine::Main(); }
