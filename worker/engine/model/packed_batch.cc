#include "worker/engine/model/packed_batch.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <limits>
#include <numeric>

namespace tenon::engine {
namespace {

at::Tensor Int64Tensor(const std::vector<int64_t>& values, const at::Device& device) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::TensorOptions().dtype(at::kLong));
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<int64_t>());
  return tensor.to(device);
}

// Rows are fewer than tokens: their number is rounded to less.
constexpr int64_t kRoundRows = 8;

// How long the longest row of a group may be beside its shortest: small groups cost calls, wide ones cost padding.
int64_t LongestBeside(int64_t shortest) { return shortest + std::max<int64_t>(4, shortest / 8); }

AttentionGroup MakeGroup(const std::vector<int64_t>& offsets, absl::Span<const int64_t> rows,
                         const at::Device& device) {
  AttentionGroup group;
  group.rows = static_cast<int64_t>(rows.size());
  const auto length = [&](int64_t row) { return offsets[row + 1] - offsets[row]; };
  group.length = length(rows.back());
  const bool equal = length(rows.front()) == group.length;
  // Rows of equal length keep their order, so these are neighbours exactly when nothing lies between first and last.
  if (equal && rows.back() - rows.front() + 1 == group.rows) {
    group.first_token = offsets[rows.front()];
    return group;
  }
  std::vector<int64_t> index;
  index.reserve(static_cast<size_t>(group.rows * group.length));
  for (const int64_t row : rows) {
    for (int64_t i = 0; i < group.length; ++i) index.push_back(offsets[row] + std::min(i, length(row) - 1));
  }
  group.index = Int64Tensor(index, device);
  if (!equal) {
    group.mask = at::full({group.rows, 1, 1, group.length}, 0.0, at::TensorOptions().dtype(at::kFloat));
    float* mask = group.mask.mutable_data_ptr<float>();
    for (int64_t r = 0; r < group.rows; ++r) {
      std::fill(mask + r * group.length + length(rows[r]), mask + (r + 1) * group.length,
                -std::numeric_limits<float>::infinity());
    }
    group.mask = group.mask.to(device);
  }
  return group;
}

}  // namespace

int64_t PackedBatch::max_length() const {
  int64_t longest = 0;
  for (int64_t r = 0; r < rows(); ++r) longest = std::max(longest, offsets[r + 1] - offsets[r]);
  return longest;
}

PackedBatch Pack(absl::Span<const std::vector<int32_t>* const> rows, const at::Device& device, int64_t round_to,
                 bool grouped, absl::Span<const int64_t> virtual_tokens, absl::Span<const int64_t> second_types) {
  PackedBatch batch;
  std::vector<int64_t> ids, positions, types;
  batch.offsets.push_back(0);
  for (size_t r = 0; r < rows.size(); ++r) {
    if (!virtual_tokens.empty()) ids.resize(ids.size() + static_cast<size_t>(virtual_tokens[r]), 0);
    const size_t first_word = ids.size();
    ids.insert(ids.end(), rows[r]->begin(), rows[r]->end());
    if (!second_types.empty() && second_types[r] < static_cast<int64_t>(rows[r]->size())) {
      types.resize(first_word + static_cast<size_t>(second_types[r]), 0);
      types.resize(ids.size(), 1);
    }
    for (int64_t i = batch.offsets.back(); i < static_cast<int64_t>(ids.size()); ++i) {
      positions.push_back(i - batch.offsets.back());
    }
    batch.offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  const int64_t rounded = (batch.tokens() + round_to - 1) / round_to * round_to;
  ids.resize(static_cast<size_t>(rounded), 0);
  positions.resize(static_cast<size_t>(rounded), 0);
  batch.ids = Int64Tensor(ids, device);
  batch.positions = Int64Tensor(positions, device);
  if (!types.empty()) {
    types.resize(static_cast<size_t>(rounded), 0);
    batch.types = Int64Tensor(types, device);
  }
  const int64_t round_rows = std::min(round_to, kRoundRows);
  const int64_t lines = (batch.rows() + round_rows - 1) / round_rows * round_rows;
  std::vector<int64_t> first(batch.offsets.begin(), batch.offsets.end() - 1);
  first.resize(static_cast<size_t>(lines), first.front());
  batch.first = Int64Tensor(first, device);
  if (!grouped) return batch;

  std::vector<int64_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  const auto length = [&](int64_t row) { return batch.offsets[row + 1] - batch.offsets[row]; };
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return length(a) < length(b); });
  std::vector<int64_t> restore(static_cast<size_t>(rounded), 0);
  int64_t place = 0;
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && length(order[end]) <= LongestBeside(length(order[begin]))) ++end;
    const auto members = absl::MakeConstSpan(order).subspan(begin, end - begin);
    AttentionGroup group = MakeGroup(batch.offsets, members, device);
    for (const int64_t row : members) {
      for (int64_t i = 0; i < length(row); ++i) restore[batch.offsets[row] + i] = place + i;
      place += group.length;
    }
    batch.groups.push_back(std::move(group));
    begin = end;
  }
  batch.restore = Int64Tensor(restore, device);

  std::vector<int64_t> row_restore(order.size());
  for (size_t i = 0; i < order.size(); ++i) row_restore[order[i]] = static_cast<int64_t>(i);
  row_restore.resize(static_cast<size_t>(lines), row_restore.front());
  batch.row_order = Int64Tensor(order, device);
  batch.row_restore = Int64Tensor(row_restore, device);
  return batch;
}

}  // namespace tenon::engine
