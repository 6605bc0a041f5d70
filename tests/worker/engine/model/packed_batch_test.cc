#include "worker/engine/model/packed_batch.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace tenon::engine {
namespace {

std::vector<int64_t> Values(const at::Tensor& tensor) {
  const int64_t* data = tensor.const_data_ptr<int64_t>();
  return std::vector<int64_t>(data, data + tensor.numel());
}

PackedBatch PackLengths(const std::vector<int64_t>& lengths, int64_t round_to = 1) {
  std::vector<std::vector<int32_t>> rows;
  int32_t id = 100;
  for (const int64_t length : lengths) {
    std::vector<int32_t>& row = rows.emplace_back();
    for (int64_t i = 0; i < length; ++i) row.push_back(id++);
  }
  std::vector<const std::vector<int32_t>*> pointers;
  for (const auto& row : rows) pointers.push_back(&row);
  return Pack(pointers, at::Device(at::kCPU), round_to);
}

TEST(Pack, PutsRowsBehindOneAnother) {
  const PackedBatch batch = PackLengths({2, 3, 1});
  EXPECT_EQ(batch.rows(), 3);
  EXPECT_EQ(batch.tokens(), 6);
  EXPECT_EQ(batch.max_length(), 3);
  EXPECT_EQ(Values(batch.ids), (std::vector<int64_t>{100, 101, 102, 103, 104, 105}));
  EXPECT_EQ(Values(batch.positions), (std::vector<int64_t>{0, 1, 0, 1, 2, 0}));
  EXPECT_EQ(batch.offsets, (std::vector<int64_t>{0, 2, 5, 6}));
}

TEST(Pack, RoundsUpBehindTheLastRow) {
  const PackedBatch batch = PackLengths({2, 3}, 8);
  EXPECT_EQ(batch.tokens(), 5);
  EXPECT_EQ(batch.ids.size(0), 8);
  EXPECT_EQ(batch.restore.size(0), 8);
  EXPECT_EQ(batch.offsets.back(), 5);
}

TEST(Pack, EqualNeighboursAreAView) {
  const PackedBatch batch = PackLengths({5, 5, 5});
  ASSERT_EQ(batch.groups.size(), 1u);
  EXPECT_EQ(batch.groups[0].first_token, 0);
  EXPECT_FALSE(batch.groups[0].index.defined());
  EXPECT_FALSE(batch.groups[0].mask.defined());
}

TEST(Pack, RowsOfDifferentLengthAreMaskedOrApart) {
  const PackedBatch near = PackLengths({9, 7, 8});
  ASSERT_EQ(near.groups.size(), 1u);
  EXPECT_EQ(near.groups[0].length, 9);
  EXPECT_TRUE(near.groups[0].mask.defined());
  EXPECT_EQ(PackLengths({3, 60}).groups.size(), 2u);
}

// What attention relies on: every token is restored from a place of its own row that holds it, and no place shows
// another row.
TEST(Pack, EveryTokenComesBackFromItsOwnPlace) {
  const std::vector<std::vector<int64_t>> cases = {
      {1}, {4, 4}, {9, 1, 9, 1, 9}, {5, 17, 6, 17, 5, 5, 40}, {64, 3, 3, 64, 12}, {2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};
  for (const auto& lengths : cases) {
    const PackedBatch batch = PackLengths(lengths, 4);
    std::vector<int64_t> token_of_place;
    std::vector<bool> visible;
    int64_t rows = 0;
    for (const AttentionGroup& group : batch.groups) {
      rows += group.rows;
      const float* mask = group.mask.defined() ? group.mask.const_data_ptr<float>() : nullptr;
      for (int64_t place = 0; place < group.rows * group.length; ++place) {
        token_of_place.push_back(group.first_token >= 0 ? group.first_token + place : Values(group.index)[place]);
        visible.push_back(mask == nullptr || std::isfinite(mask[place]));
      }
    }
    EXPECT_EQ(rows, batch.rows());
    const std::vector<int64_t> restore = Values(batch.restore);
    std::set<int64_t> places;
    for (int64_t token = 0; token < batch.tokens(); ++token) {
      EXPECT_EQ(token_of_place[restore[token]], token);
      EXPECT_TRUE(visible[restore[token]]);
      places.insert(restore[token]);
    }
    EXPECT_EQ(static_cast<int64_t>(places.size()), batch.tokens());
    EXPECT_EQ(std::count(visible.begin(), visible.end(), true), batch.tokens());
  }
}

TEST(Pack, TypesBeginBehindVirtualTokens) {
  const std::vector<int32_t> one = {7, 8, 9}, two = {5, 6};
  const std::vector<const std::vector<int32_t>*> rows = {&one, &two, &one};
  constexpr int64_t kNone = 1'000'000;
  const PackedBatch batch =
      Pack(rows, at::Device(at::kCPU), /*round_to=*/8, /*grouped=*/true, {2, 0, 0}, {1, kNone, 2});
  EXPECT_EQ(Values(batch.types), (std::vector<int64_t>{0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}));
  EXPECT_FALSE(Pack(rows, at::Device(at::kCPU), 1, true, {}, {kNone, kNone, kNone}).types.defined());
}

}  // namespace
}  // namespace tenon::engine
