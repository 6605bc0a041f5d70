#include "common/formats/merge_stream.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/formats/half.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

constexpr size_t kPiece = 1 << 20;
constexpr int64_t kFloatsAtOnce = 64 << 10;

const uint8_t* Bytes(const std::string& text) { return reinterpret_cast<const uint8_t*>(text.data()); }

// A row of B or all of A.
void Load(const TensorView& view, int64_t begin, int64_t count, std::vector<float>* floats) {
  floats->resize(static_cast<size_t>(count));
  ToFloats(view.dtype, view.data + begin * ItemSize(view.dtype), count, floats->data());
}

}  // namespace

bool MergeStream::IsNew(const MergeStep& step) {
  return step.source < 0 || step.replacement != nullptr || step.size_bytes == 0;
}

absl::Status MergeStream::Write(const char* data, size_t size) {
  while (size > 0) {
    const size_t count = std::min(size, kPiece - out_.size());
    out_.append(data, count);
    data += count;
    size -= count;
    if (out_.size() < kPiece) continue;
    RETURN_IF_ERROR(sink_(out_));
    out_.clear();
  }
  return absl::OkStatus();
}

absl::Status MergeStream::WriteFloats(const MergeStep& step, const std::vector<float>& floats) {
  std::string bytes(floats.size() * static_cast<size_t>(ItemSize(step.dtype)), '\0');
  const auto count = static_cast<int64_t>(floats.size());
  auto* data = reinterpret_cast<uint8_t*>(bytes.data());
  FromFloats(floats.data(), count, step.dtype, data);
  // As they are stored: a sum that fits 32 bits may overflow 16.
  std::vector<float> stored(floats.size());
  ToFloats(step.dtype, data, count, stored.data());
  if (!std::all_of(stored.begin(), stored.end(), [](float value) { return std::isfinite(value); })) {
    return TenonError(
        Reason::kResultNotFinite,
        absl::StrCat("merged, tensor ", step.name, " has values that ", DTypeName(step.dtype), " cannot hold"),
        step.name);
  }
  return Write(bytes.data(), bytes.size());
}

absl::Status MergeStream::WriteNew() {
  for (; step_ < file_.steps.size() && IsNew(file_.steps[step_]); ++step_) {
    const MergeStep& step = file_.steps[step_];
    const int64_t count = step.size_bytes / ItemSize(step.dtype);
    for (int64_t begin = 0; begin < count; begin += kFloatsAtOnce) {
      Load(*step.replacement, begin, std::min(kFloatsAtOnce, count - begin), &floats_);
      RETURN_IF_ERROR(WriteFloats(step, floats_));
    }
  }
  return absl::OkStatus();
}

absl::Status MergeStream::AddToRow(const MergeStep& step) {
  const int64_t in = step.shape[1], r = step.a->shape[0];
  if (row_ == 0) Load(*step.a, 0, r * in, &a_);
  Load(*step.b, row_ * r, r, &b_);
  sum_.assign(static_cast<size_t>(in), 0);
  for (int64_t k = 0; k < r; ++k) {
    const float factor = b_[static_cast<size_t>(k)];
    const float* from = a_.data() + k * in;
    for (int64_t i = 0; i < in; ++i) sum_[static_cast<size_t>(i)] += factor * from[i];
  }
  floats_.resize(static_cast<size_t>(in));
  ToFloats(step.dtype, Bytes(row_bytes_), in, floats_.data());
  const auto scale = static_cast<float>(step.scale);
  for (int64_t i = 0; i < in; ++i) floats_[static_cast<size_t>(i)] += scale * sum_[static_cast<size_t>(i)];
  row_bytes_.clear();
  ++row_;
  return WriteFloats(step, floats_);
}

absl::Status MergeStream::Take(const MergeStep& step, const char* data, size_t size) {
  if (step.a == nullptr) return Write(data, size);
  const auto row = static_cast<size_t>(step.shape[1] * ItemSize(step.dtype));
  while (size > 0) {
    const size_t count = std::min(size, row - row_bytes_.size());
    row_bytes_.append(data, count);
    data += count;
    size -= count;
    if (row_bytes_.size() == row) RETURN_IF_ERROR(AddToRow(step));
  }
  return absl::OkStatus();
}

absl::Status MergeStream::Append(const std::string& piece) {
  if (!begun_) RETURN_IF_ERROR(Write(file_.begin.data(), file_.begin.size()));
  begun_ = true;
  for (int64_t begin = 0, end = static_cast<int64_t>(piece.size()); begin < end;) {
    RETURN_IF_ERROR(WriteNew());
    if (step_ == file_.steps.size()) break;  // nothing of the rest is kept
    const MergeStep& step = file_.steps[step_];
    const int64_t step_end = step.source + step.size_bytes;
    const bool inside = at_ >= step.source;
    const int64_t count = std::min(end - begin, (inside ? step_end : step.source) - at_);
    if (inside) RETURN_IF_ERROR(Take(step, piece.data() + begin, static_cast<size_t>(count)));
    begin += count;
    at_ += count;
    if (at_ == step_end) {
      ++step_;
      row_ = 0;
    }
  }
  return absl::OkStatus();
}

absl::Status MergeStream::Finish() {
  RETURN_IF_ERROR(WriteNew());
  if (step_ < file_.steps.size()) {
    return TenonError(Reason::kSafetensorsInvalid,
                      absl::StrCat(file_.name, ": the file ends within tensor ", file_.steps[step_].name), file_.name);
  }
  return out_.empty() ? absl::OkStatus() : sink_(out_);
}

}  // namespace tenon::formats
