// What becomes of each tensor of a base when a LoRA is merged into it: W + scale * B A, as PEFT's merge_and_unload
// does. Decided by the headers of the files alone, so that everything that is wrong is known before a byte is written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/adapter_config.h"
#include "common/formats/encoder_family.h"
#include "common/formats/safetensors.h"
#include "common/formats/safetensors_header.h"

namespace tenon::formats {

// One file of a base's weights.
struct WeightsFile {
  std::string name;        // `model.safetensors`, or a shard's
  int64_t data_begin = 0;  // where the header's offsets count from, in bytes of the file
  SafetensorsHeader header;
};

// A tensor of a merged file.
struct MergeStep {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  int64_t size_bytes = 0;
  // Where it begins in the base's file; -1 when nothing of the base's is in it.
  int64_t source = -1;
  // What it is instead, converted to `dtype`; or what is added to it. Views of the adapter's file.
  const TensorView* replacement = nullptr;
  const TensorView *a = nullptr, *b = nullptr;  // [r, in], [out, r] of [out, in]
  double scale = 0;
};

// A file of the merged model. The steps that read from the base's are in its order.
struct MergedFile {
  std::string name;
  std::string begin;  // the header and its length
  std::vector<MergeStep> steps;
};

// `weights`, which is adapter_model.safetensors, merged into the files of a base; `family` is nullptr for one that
// writes texts. With `classifies` the result is the family's sequence classifier: of the base stays its encoder, named
// as there, and the adapter's head stands in the base's dtype. Otherwise it has the base's own tensors. ADAPTER_INVALID
// names a tensor that is missing, has no place or another shape; UNSUPPORTED an output layer that the base shares with
// its embedding.
absl::StatusOr<std::vector<MergedFile>> PlanMerge(const std::vector<WeightsFile>& base, const EncoderFamily* family,
                                                  const LoraConfig& lora, const Safetensors& weights, bool classifies);

}  // namespace tenon::formats
