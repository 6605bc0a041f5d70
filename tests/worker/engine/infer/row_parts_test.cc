#include "worker/engine/row_parts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace tenon::engine {
namespace {

std::vector<int64_t> Tokens(const std::vector<RowSize>& rows, const std::vector<RowPart>& parts) {
  std::vector<int64_t> tokens;
  std::set<size_t> seen;
  for (const RowPart& part : parts) {
    tokens.push_back(0);
    for (const size_t row : part) {
      EXPECT_TRUE(seen.insert(row).second) << "row " << row << " is in two parts";
      tokens.back() += rows[row].tokens;
    }
  }
  EXPECT_EQ(seen.size(), rows.size()) << "a row is in no part";
  return tokens;
}

TEST(SplitRows, SharesTokensEvenly) {
  std::vector<RowSize> rows;
  for (int64_t i = 0; i < 97; ++i) rows.push_back({10 + i % 41});
  for (const int threads : {2, 3, 8}) {
    const std::vector<RowPart> parts = SplitRows(rows, threads);
    EXPECT_EQ(parts.size() % threads, 0u);
    const std::vector<int64_t> tokens = Tokens(rows, parts);
    // A row's tokens are the most by which neighbours differ from the even share, at each end.
    EXPECT_LE(*std::max_element(tokens.begin(), tokens.end()) - *std::min_element(tokens.begin(), tokens.end()),
              2 * 50);
  }
}

TEST(SplitRows, KeepsGroupsTogether) {
  const int groups[4] = {};
  std::vector<RowSize> rows;
  for (size_t i = 0; i < 64; ++i) rows.push_back({32, &groups[i % 4]});
  const std::vector<RowPart> parts = SplitRows(rows, 4);
  ASSERT_EQ(parts.size(), 4u);
  for (size_t p = 0; p < parts.size(); ++p) {
    for (const size_t row : parts[p]) EXPECT_EQ(rows[row].group, &groups[p]);
  }
}

TEST(SplitRows, LeavesWorkWholeThatCannotBeShared) {
  const std::vector<std::vector<RowSize>> wholes = {{{300}}, {{20}, {20}, {20}}, {{500}, {30}, {40}}};
  for (const std::vector<RowSize>& rows : wholes) {
    const std::vector<RowPart> parts = SplitRows(rows, 2);
    ASSERT_EQ(parts.size(), 1u);
    EXPECT_TRUE(std::is_sorted(parts[0].begin(), parts[0].end()));
    Tokens(rows, parts);
  }
  EXPECT_EQ(SplitRows(std::vector<RowSize>(50, {40}), 1).size(), 1u);
}

TEST(SplitRows, NoPartIsEmpty) {
  // One long row beside many short ones, on many threads.
  std::vector<RowSize> rows(40, {30});
  rows[20].tokens = 200;
  for (const RowPart& part : SplitRows(rows, 6)) EXPECT_FALSE(part.empty());
}

}  // namespace
}  // namespace tenon::engine
