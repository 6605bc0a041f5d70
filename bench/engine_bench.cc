// What the engine does on this machine, beside what the machine can do: the best GEMM rate of this run, and texts a
// second for given lengths or for a file's texts, base alone and over adapters. One JSON object on stdout.
//
//   tenon-engine-bench BASE [--threads N] [--precision fp32|bf16] [--lengths 16,64,128 | --texts FILE] [--rows 64]
//   [--output embedding|probabilities] [--gemm 0|1] [--seconds 2] [--adapter DIR]...
#include <ATen/core/Tensor.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/formats/status.h"
#include "nlohmann/json.hpp"
#include "worker/engine/infer.h"
#include "worker/engine/model/packed_linear.h"

namespace tenon::engine {
namespace {

using Json = nlohmann::json;

struct Options {
  std::string base;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  std::string precision = "fp32";
  std::vector<int64_t> lengths = {16, 64, 128, 256};
  std::string texts;  // a file, one text a line; empty: rows of `lengths`
  int64_t rows = 64;
  std::string output = "embedding";
  int gemm = 1;
  double seconds = 2;
  std::vector<std::string> adapters;
};

double Seconds(const std::function<void()>& function) {
  const absl::Time start = absl::Now();
  function();
  return absl::ToDoubleSeconds(absl::Now() - start);
}

// Runs of `function` a second, the best of those within the time: a shared machine shows its speed in its best moments
// only.
double BestRate(double seconds, const std::function<void()>& function) {
  function();
  double best = 1e18;
  const absl::Time end = absl::Now() + absl::Seconds(seconds);
  do {
    best = std::min(best, Seconds(function));
  } while (absl::Now() < end);
  return 1 / best;
}

// GFLOP/s of [2048, 384] x [384, 1536], the best of the library's product and oneDNN's on packed weights.
double GemmRate(at::ScalarType type, double seconds) {
  const c10::InferenceMode inference;
  const at::Tensor x = at::randn({2048, 384}).to(type), weight = at::randn({1536, 384}).to(type),
                   bias = at::randn({1536}).to(type);
  const double gflop = 2.0 * 2048 * 384 * 1536 / 1e9;
  double rate = BestRate(seconds, [&] { at::linear(x, weight, bias); });
  if (HavePackedLinear()) {
    const at::Tensor packed = PackWeight(weight);
    rate = std::max(rate, BestRate(seconds, [&] { PackedLinear(x, packed, bias, Activation::kNone); }));
  }
  return gflop * rate;
}

using Rows = std::vector<std::vector<int32_t>>;

// The rows of one batch each: as many as asked for of every length, or the file's texts in their order.
absl::StatusOr<std::vector<Rows>> ReadBatches(const Options& options, const Base& base) {
  std::vector<Rows> batches;
  if (options.texts.empty()) {
    for (const int64_t length : options.lengths) {
      batches.emplace_back(static_cast<size_t>(options.rows), std::vector<int32_t>(static_cast<size_t>(length), 1));
    }
    return batches;
  }
  std::ifstream file(options.texts);
  if (!file) return TenonError(Reason::kOptionInvalid, "cannot read " + options.texts, "texts");
  for (std::string line; std::getline(file, line);) {
    if (batches.empty() || static_cast<int64_t>(batches.back().size()) == options.rows) batches.emplace_back();
    batches.back().push_back(base.tokenizer().Encode(line, base.default_max_tokens()).ids);
  }
  return batches;
}

// Texts a second over all `batches`; row i of a batch goes to adapter i modulo their number, or to the base alone.
absl::StatusOr<double> TextRate(const Options& options, const Base& base, absl::Span<const Rows> batches,
                                const std::vector<std::shared_ptr<const DeviceAdapter>>& adapters) {
  std::vector<std::vector<InferRow>> inputs;
  size_t texts = 0;
  for (const Rows& rows : batches) {
    std::vector<InferRow>& batch = inputs.emplace_back(rows.size());
    texts += rows.size();
    for (size_t i = 0; i < rows.size(); ++i) {
      batch[i].ids = &rows[i];
      if (options.output == "probabilities") batch[i].output = Output::kProbabilities;
      if (!adapters.empty()) batch[i].adapter = adapters[i % adapters.size()].get();
    }
  }
  absl::Status status;
  const double rate = BestRate(options.seconds, [&] {
    for (const std::vector<InferRow>& batch : inputs) status.Update(Infer(base, batch).status());
  });
  RETURN_IF_ERROR(status);
  return static_cast<double>(texts) * rate;
}

absl::Status Run(const Options& options) {
  SetThreads(options.threads);
  Json out = {{"threads", options.threads}, {"precision", options.precision}, {"rows", options.rows}};
  if (options.gemm != 0) {
    out["gemm_gflops"] = {{"fp32", GemmRate(at::kFloat, options.seconds)},
                          {"bf16", GemmRate(at::kBFloat16, options.seconds)}};
  }
  Base::Options base_options;
  ASSIGN_OR_RETURN(base_options.precision, ParsePrecision(options.precision));
  ASSIGN_OR_RETURN(const auto base, Base::Load(options.base, base_options));
  std::vector<std::shared_ptr<const DeviceAdapter>> adapters;
  for (const std::string& folder : options.adapters) {
    ASSIGN_OR_RETURN(auto host, HostAdapter::Load(folder, *base));
    ASSIGN_OR_RETURN(auto placed, DeviceAdapter::Place(std::move(host), *base));
    adapters.push_back(std::move(placed));
  }
  RETURN_IF_ERROR(WarmUp(*base));
  ASSIGN_OR_RETURN(const std::vector<Rows> batches, ReadBatches(options, *base));
  const size_t step = options.texts.empty() ? 1 : batches.size();
  for (size_t i = 0; i < batches.size(); i += step) {
    const auto part = absl::MakeConstSpan(batches).subspan(i, step);
    Json line = {{"output", options.output}};
    if (options.texts.empty()) line["length"] = options.lengths[i];
    ASSIGN_OR_RETURN(line["base_texts_per_s"], TextRate(options, *base, part, {}));
    if (!adapters.empty()) {
      ASSIGN_OR_RETURN(line["mixed_texts_per_s"], TextRate(options, *base, part, adapters));
      line["adapters"] = adapters.size();
    }
    out["encoder"].push_back(line);
  }
  out["resident_bytes"] = base->ResidentBytes();
  std::cout << out.dump(2) << std::endl;
  return absl::OkStatus();
}

absl::StatusOr<Options> Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name.rfind("--", 0) != 0) {
      options.base = name;
      continue;
    }
    if (i + 1 == argc) return TenonError(Reason::kOptionInvalid, name + " needs a value");
    const std::string value = argv[++i];
    bool ok = true;
    if (name == "--threads")
      ok = absl::SimpleAtoi(value, &options.threads) && options.threads > 0;
    else if (name == "--precision")
      options.precision = value;
    else if (name == "--texts")
      options.texts = value;
    else if (name == "--output")
      ok = (options.output = value) == "embedding" || value == "probabilities";
    else if (name == "--gemm")
      ok = absl::SimpleAtoi(value, &options.gemm);
    else if (name == "--rows")
      ok = absl::SimpleAtoi(value, &options.rows) && options.rows > 0;
    else if (name == "--seconds")
      ok = absl::SimpleAtod(value, &options.seconds);
    else if (name == "--adapter")
      options.adapters.push_back(value);
    else if (name == "--lengths") {
      options.lengths.clear();
      for (const auto part : absl::StrSplit(value, ','))
        ok = absl::SimpleAtoi(part, &options.lengths.emplace_back()) && ok;
    } else
      ok = false;
    if (!ok) return TenonError(Reason::kOptionInvalid, name + " " + value + " is not understood");
  }
  if (options.base.empty()) return TenonError(Reason::kFieldRequired, "name the base's folder");
  return options;
}

}  // namespace
}  // namespace tenon::engine

int main(int argc, char** argv) {
  auto options = tenon::engine::Parse(argc, argv);
  const absl::Status status = options.ok() ? tenon::engine::Run(*options) : options.status();
  if (!status.ok()) std::cerr << status.message() << "\n";
  return status.ok() ? 0 : 1;
}
