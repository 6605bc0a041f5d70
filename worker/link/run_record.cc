#include "worker/link/run_record.h"

#include <nlohmann/json.hpp>

#include "common/formats/status.h"

namespace tenon::link {
namespace {
using Json = nlohmann::json;

// Losses may be infinite, which JSON has no number for: left out.
Json Write(const std::map<std::string, double>& metrics) {
  Json json = Json::object();
  for (const auto& [name, value] : metrics) {
    if (std::isfinite(value)) json[name] = value;
  }
  return json;
}

std::map<std::string, double> Read(const Json& json, const char* key) {
  std::map<std::string, double> metrics;
  const auto found = json.find(key);
  if (found == json.end() || !found->is_object()) return metrics;
  for (const auto& [name, value] : found->items()) {
    if (value.is_number()) metrics[name] = value.get<double>();
  }
  return metrics;
}

}  // namespace

void RunRecord::Add(const engine::TrainEvaluation& evaluation) {
  if (evaluation.kind == "untrained") untrained_ = evaluation.metrics;
  if (evaluation.kind == "head_baseline") head_baseline_ = evaluation.metrics;
  if (evaluation.kind == "validation" && evaluation.best) best_ = evaluation.metrics;
}

double RunRecord::Seconds(absl::Time now) const {
  return earlier_seconds_ + (started_ == absl::InfinitePast() ? 0 : absl::ToDoubleSeconds(now - started_));
}

std::string RunRecord::ToJson(absl::Time now) const {
  return Json{{"untrained", Write(untrained_)},
              {"best", Write(best_)},
              {"head_baseline", Write(head_baseline_)},
              {"seconds", Seconds(now)}}
      .dump(2);
}

absl::StatusOr<RunRecord> RunRecord::FromJson(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return TenonError(Reason::kInternal, "the checkpoint's run.json is broken");
  RunRecord record;
  record.untrained_ = Read(json, "untrained");
  record.best_ = Read(json, "best");
  record.head_baseline_ = Read(json, "head_baseline");
  const auto seconds = json.find("seconds");
  if (seconds != json.end() && seconds->is_number()) record.earlier_seconds_ = seconds->get<double>();
  return record;
}

}  // namespace tenon::link
