// Drives a base that writes from Python: one JSON object a line in, one out. Used by t5_test.py, bart_test.py,
// causal_test.py and their kin.
//
//   {"cmd": "base", "folder": F, "precision": "fp32", "threads": n}  -> {"layers": {name: [out, in]}, "bytes": n}
//   {"cmd": "adapter", "name": N, "folder": F}            -> {"config": {...}, "parameters": n}
//   {"cmd": "write", "name": N, "folder": F}              -> {}
//   {"cmd": "logits", "rows": [{"source", "tokens", "adapter"}]}  tokens of each row are given to the decoder one by
//   one
//                                                         -> {"rows": [[[logit]]]}, of each token those behind it
//   {"cmd": "targets", "rows": [{"source", "target", "adapter"}]}  each target is read, all rows in one batch
//                                                         -> {"rows": [{"log_probs": [..], "foreseen": n}]}
//   {"cmd": "generate", ...}                              RunGenerations() of generation_json.h
// An error gives {"error": message, "reason": REASON, "field": FIELD}.
#include <c10/core/InferenceMode.h>

#include <deque>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "tests/parity/generation_json.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/adapter/write.h"
#include "worker/engine/generate/generation_batch.h"
#include "worker/engine/generate/target_search.h"
#include "worker/engine/model/causal/model.h"
#include "worker/engine/model/decode/encoder_decoder.h"

namespace tenon::engine {
namespace {

using Json = nlohmann::json;

class Tool {
 public:
  absl::StatusOr<Json> Run(const Json& command) {
    const std::string name = command.at("cmd");
    if (name == "base") return LoadBase(command);
    if (name == "adapter") return LoadAdapter(command);
    if (name == "write") {
      const auto& adapter = adapters_.at(command.at("name"));
      RETURN_IF_ERROR(WriteAdapter(std::string(command.at("folder")), adapter->host().tensors()));
      return Json::object();
    }
    if (name == "logits") return Logits(command);
    if (name == "targets") return ReadTargets(command);
    if (name == "generate") {
      return RunGenerations({.decoder = [this] { return base_->NewDecoder(); },
                             .vocab_size = base_->generation_limits().vocab_size,
                             .adapter = [this](const std::string& adapter) { return adapters_.at(adapter); }},
                            command);
    }
    return absl::InvalidArgumentError(absl::StrCat("no command ", name));
  }

 private:
  absl::StatusOr<Json> LoadBase(const Json& command) {
    SetThreads(command.value("threads", 1));
    Base::Options options;
    ASSIGN_OR_RETURN(options.precision, ParsePrecision(command.value("precision", "fp32")));
    adapters_.clear();
    ASSIGN_OR_RETURN(base_, Base::Load(std::string(command.at("folder")), options));
    if (base_->decoder_only()) {
      ASSIGN_OR_RETURN(const auto model, base_->causal(options.precision));
      return Describe(*model);
    }
    ASSIGN_OR_RETURN(const auto model, base_->encoder_decoder(options.precision));
    return Describe(*model);
  }

  template <typename Model>
  Json Describe(const Model& model) const {
    Json layers = Json::object();
    for (const auto& [layer, shape] : model.linear_layers()) layers[layer] = {shape.first, shape.second};
    return Json{{"layers", layers}, {"bytes", base_->ResidentBytes()}, {"own_kernels", model.own_kernels()}};
  }

  absl::StatusOr<Json> LoadAdapter(const Json& command) {
    ASSIGN_OR_RETURN(auto host, HostAdapter::Load(std::string(command.at("folder")), *base_));
    ASSIGN_OR_RETURN(adapters_[command.at("name")], DeviceAdapter::Place(host, *base_));
    return Json{{"config", Json::parse(formats::WriteTenonConfig(host->config(), true))},
                {"parameters", host->tensors().Parameters()}};
  }

  // A decoder with these rows joined.
  absl::StatusOr<std::unique_ptr<Decoder>> Joined(const Json& rows) {
    ASSIGN_OR_RETURN(std::unique_ptr<Decoder> decoder, base_->NewDecoder());
    std::vector<DecoderSource> sources;
    ids_.clear();
    for (const Json& row : rows) {
      const std::string adapter = row.value("adapter", "");
      sources.push_back({&ids_.emplace_back(row.at("source").get<std::vector<int32_t>>()),
                         adapter.empty() ? nullptr : adapters_.at(adapter).get()});
    }
    RETURN_IF_ERROR(decoder->Join(sources));
    return decoder;
  }

  absl::StatusOr<Json> Logits(const Json& command) {
    const c10::InferenceMode inference;
    const Json& rows = command.at("rows");
    ASSIGN_OR_RETURN(const std::unique_ptr<Decoder> decoder, Joined(rows));
    std::vector<std::vector<std::vector<float>>> logits(rows.size());
    // Rows leave when their tokens are used up.
    std::vector<size_t> open;
    for (size_t i = 0; i < rows.size(); ++i) open.push_back(i);
    for (size_t step = 0; !open.empty(); ++step) {
      std::vector<int64_t> staying;
      std::vector<size_t> left;
      std::vector<int32_t> tokens;
      for (size_t i = 0; i < open.size(); ++i) {
        if (rows[open[i]].at("tokens").size() <= step) continue;
        staying.push_back(static_cast<int64_t>(i));
        left.push_back(open[i]);
        tokens.push_back(rows[open[i]].at("tokens")[step]);
      }
      open = left;
      decoder->Select(staying);
      if (open.empty()) break;
      const at::Tensor given = decoder->Step(tokens).to(at::kCPU).contiguous();
      for (size_t i = 0; i < open.size(); ++i) {
        const float* line = given.const_data_ptr<float>() + static_cast<int64_t>(i) * given.size(1);
        logits[open[i]].emplace_back(line, line + given.size(1));
      }
    }
    return Json{{"rows", logits}};
  }

  absl::StatusOr<Json> ReadTargets(const Json& command) {
    const Json& rows = command.at("rows");
    ASSIGN_OR_RETURN(const auto batch, GenerationBatch::Open(*base_, {.max_lines = 1 << 20, .max_tokens = 1 << 30}));
    std::vector<GenerationRequest> requests;
    for (size_t i = 0; i < rows.size(); ++i) {
      GenerationRequest& request = requests.emplace_back();
      request.id = i;
      request.source = rows[i].at("source").get<std::vector<int32_t>>();
      request.prefix = {*base_->generation_defaults().decoder_start_token_id};
      request.target = rows[i].at("target").get<std::vector<int32_t>>();
      request.plan = ReadingPlan(static_cast<int64_t>(request.target.size()));
      const std::string adapter = rows[i].value("adapter", "");
      if (!adapter.empty()) request.adapter = adapters_.at(adapter);
    }
    RETURN_IF_ERROR(batch->Join(std::move(requests)));
    Json read = Json::array();
    for (size_t i = 0; i < rows.size(); ++i) read.push_back(nullptr);
    while (batch->requests() > 0) {
      ASSIGN_OR_RETURN(const auto events, batch->Step());
      for (const GenerationEvent& event : events) {
        if (!event.finished) continue;
        const GeneratedSequence& one = event.sequences.at(0);
        read[event.id] = {{"log_probs", one.log_probs}, {"foreseen", one.foreseen_tokens}};
      }
    }
    return Json{{"rows", read}};
  }

  std::shared_ptr<const Base> base_;
  std::map<std::string, std::shared_ptr<const DeviceAdapter>> adapters_;
  std::deque<std::vector<int32_t>> ids_;  // of the lines that a decoder holds
};

int Main() {
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
