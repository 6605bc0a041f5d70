// A trained model as a folder of its own. Engine-internal, torch inside.
#pragma once

#include <filesystem>

#include "absl/status/status.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/base.h"

namespace tenon::engine {

// Writes a Hugging Face folder that transformers opens with AutoModelForSequenceClassification, and Tenon as a base
// with a head of its own: model.safetensors in fp32, by transformers' names; the base's config.json with the head's
// labels and kind; and the base's files of the tokenizer and of sentence-transformers, byte for byte, under the names
// that a base's manifest has. `model` is what CopyBert makes. The same weights give the same bytes.
absl::Status WriteFullModel(const std::filesystem::path& folder, const Base& base, const AdapterTensors& model);

}  // namespace tenon::engine
