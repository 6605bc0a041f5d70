// An adapter's files, read and checked against a base's layers. Engine-internal, torch inside.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/formats/adapter_config.h"
#include "common/formats/model_config.h"
#include "worker/engine/adapter/tensors.h"

namespace tenon::engine {

// What an adapter must fit.
struct AdapterSite {
  // A base that writes texts: its adapters are of task `seq2seq` and have no head.
  bool generates = false;
  const formats::BertConfig* encoder = nullptr;  // of a base that only encodes
  int64_t hidden_size = 0;                       // what a classification head reads
  formats::SentenceConfig sentence;              // defaults of adapters without a tenon.json
  const std::string& base_digest;
  // Name without task prefix -> [out, in]. A base that writes has no biases.
  const std::map<std::string, std::pair<int64_t, int64_t>>& linear_layers;
};

// Tensors in fp32 in host memory. The folder's tenon.json, or its lack, decides: method `head` reads head.safetensors,
// everything else is PEFT's. Errors as HostAdapter::Load.
absl::StatusOr<AdapterTensors> ReadAdapter(const std::filesystem::path& folder, const AdapterSite& site);

}  // namespace tenon::engine
