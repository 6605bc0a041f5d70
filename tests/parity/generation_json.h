// Generation driven by JSON, for the tools that are held against transformers' generate().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "worker/engine/adapter/adapter.h"
#include "worker/engine/generate/decoder.h"

namespace tenon::engine {

// {"error", "reason", "field"}.
nlohmann::json ErrorOf(const absl::Status& status);

struct GenerationBench {
  std::function<absl::StatusOr<std::unique_ptr<Decoder>>()> decoder;
  int64_t vocab_size = 0;
  // An adapter by its name; empty where there are none.
  std::function<std::shared_ptr<const DeviceAdapter>(const std::string& name)> adapter;
};

// Runs {"base": {...}, "max_lines": n, "join": k, "requests": [{"source", "prefix", "options": {...}, "do_sample",
// "seed", "adapter"}]}: options are generation_config.json's; k requests join before each step, as far as they fit.
// {"replies": [{"sequences": [{"tokens", "log_probs", "score", "reason"}], "ignored"}]}; a request that is refused
// gives ErrorOf() in its place.
absl::StatusOr<nlohmann::json> RunGenerations(const GenerationBench& bench, const nlohmann::json& command);

}  // namespace tenon::engine
