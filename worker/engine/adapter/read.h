// An adapter's files, read and checked against a base's layers. Engine-internal, torch inside.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/formats/adapter_config.h"
#include "common/formats/bart_config.h"
#include "common/formats/causal_config.h"
#include "common/formats/encoder_family.h"
#include "common/formats/t5_config.h"
#include "worker/engine/adapter/tensors.h"

namespace tenon::engine {

// What an adapter must fit.
struct AdapterSite {
  const formats::EncoderConfig* encoder = nullptr;  // of a base that only encodes
  // Of one that writes texts, one of these: its adapters are of task `seq2seq`, of a decoder alone `causal_lm`, and
  // have no head.
  const formats::T5Config* writer = nullptr;
  const formats::BartConfig* bart = nullptr;
  const formats::CausalConfig* causal = nullptr;
  // Of each of them: [vocab, size of a word's embedding] of any type, on any device.
  at::Tensor output_layer;
  int64_t hidden_size = 0;           // of the states that adapters meet, or of the words that a prompt stands before
  formats::SentenceConfig sentence;  // defaults of adapters without a tenon.json
  bool takes_head = false;           // as Encoder
  // Of the adapter's head, where it has one: ReadAdapter fills it in.
  formats::HeadKind head = formats::HeadKind::kSequence;
  bool crf = false;
  const std::string& base_digest;
  // Name without task prefix -> [out, in].
  const std::map<std::string, std::pair<int64_t, int64_t>>& linear_layers;

  bool generates() const { return writer != nullptr || bart != nullptr || causal != nullptr; }
  std::string model_type() const;
  // Whether a layer that an adapter brings whole has a bias.
  bool HasBias(const std::string& module) const;
  // TenonConfig's name of what adapters without a head are for.
  const char* plain_task() const;
  int64_t vector_size() const { return encoder == nullptr ? hidden_size : encoder->vector_size(); }
  const formats::EncoderFamily* family() const { return encoder == nullptr ? nullptr : encoder->family; }
  // Whether an fp32 tensor of a file is a copy of the output layer, in its type.
  bool IsOutputLayer(const at::Tensor& layer) const;
};

// Tensors in fp32 in host memory. The folder's tenon.json, or its lack, decides: method `head` reads head.safetensors,
// everything else is PEFT's. Errors as HostAdapter::Load.
absl::StatusOr<AdapterTensors> ReadAdapter(const std::filesystem::path& folder, const AdapterSite& site);

}  // namespace tenon::engine
