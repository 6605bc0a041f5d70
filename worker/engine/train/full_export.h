// A trained model as a folder of its own. Engine-internal, torch inside.
#pragma once

#include <filesystem>

#include "absl/status/status.h"
#include "worker/engine/adapter/tensors.h"
#include "worker/engine/base.h"

namespace tenon::engine {

// Writes a Hugging Face folder that transformers and Tenon open: model.safetensors in fp32, by transformers' names; the
// base's config.json; and the base's other files (of the tokenizer, of sentence-transformers, of generation), byte for
// byte, under the names that a base's manifest has. A classifier (`model` is what CopyEncoder makes) is for
// AutoModelForSequenceClassification, or the class for its task, with the head's labels and kind in config.json; a T5
// (T5Modules) for AutoModelForSeq2SeqLM. The same weights give the same bytes.
absl::Status WriteFullModel(const std::filesystem::path& folder, const Base& base, const AdapterTensors& model);

}  // namespace tenon::engine
