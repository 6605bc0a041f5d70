// A LoRA merged into its base, as a whole Hugging Face folder: what PEFT's merge_and_unload().save_pretrained gives,
// and the tokenizer's files beside it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/formats/adapter_config.h"
#include "common/formats/merge_stream.h"
#include "common/formats/safetensors.h"

namespace tenon::formats {

struct MergeInput {
  struct File {
    std::string name;
    int64_t size_bytes = 0;
  };
  // The base's files, and how one of them is read from its first byte; that stops at the sink's first error, and
  // returns it.
  std::vector<File> base;
  std::function<absl::Status(const std::string& name, const PieceSink& sink)> read;
  TenonConfig tenon;
  LoraConfig lora;
  std::shared_ptr<const Safetensors> weights;  // adapter_model.safetensors
};

// UNSUPPORTED with the reason, unless the adapter is a change of the base's weights; `method` as in TenonConfig.
absl::Status CheckMergeable(const std::string& method);

// Gives the folder's files to `write`, one after the other in pieces of at most 1 MiB, until it fails. Weights keep
// their dtype, rounded to nearest even, and their files; nothing is held but a piece. An adapter with labels gives its
// family's sequence classifier, of BERTs a BertForSequenceClassification. Errors as CheckMergeable's, PlanMerge's and
// MergeStream's, and BASE_INVALID; nothing is written before the headers and configs are found to fit.
absl::Status MergeModel(const MergeInput& input,
                        const std::function<absl::Status(const std::string& file, const std::string& piece)>& write);

}  // namespace tenon::formats
