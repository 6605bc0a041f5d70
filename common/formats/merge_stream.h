// A file of a base's weights, read once from its first byte to its last, becomes a merged one. In memory are a row of a
// weight, one LoRA's A, and the piece at hand.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/formats/lora_merge.h"

namespace tenon::formats {

// Takes the next bytes of a file; an error stops who gives them.
using PieceSink = std::function<absl::Status(const std::string& piece)>;

// Not thread-safe. `file` outlives it, and so do the tensors it points to.
class MergeStream {
 public:
  // `sink` gets pieces of at most 1 MiB.
  MergeStream(const MergedFile& file, PieceSink sink) : file_(file), sink_(std::move(sink)) {}

  // The next bytes of the base's file. RESULT_NOT_FINITE names a tensor that overflows its dtype.
  absl::Status Append(const std::string& piece);
  // Behind the last. SAFETENSORS_INVALID when the base's file was too short.
  absl::Status Finish();

 private:
  // Whether the step takes nothing from the base's file.
  static bool IsNew(const MergeStep& step);
  absl::Status Write(const char* data, size_t size);
  // Numbers of a step, as its dtype.
  absl::Status WriteFloats(const MergeStep& step, const std::vector<float>& floats);
  absl::Status WriteNew();
  // `size` bytes of the step at hand.
  absl::Status Take(const MergeStep& step, const char* data, size_t size);
  absl::Status AddToRow(const MergeStep& step);

  const MergedFile& file_;
  const PieceSink sink_;
  std::string out_;
  bool begun_ = false;
  int64_t at_ = 0;  // in the base's file
  size_t step_ = 0;
  // Of a step that is added to.
  int64_t row_ = 0;
  std::string row_bytes_;
  std::vector<float> a_, b_, sum_, floats_;
};

}  // namespace tenon::formats
