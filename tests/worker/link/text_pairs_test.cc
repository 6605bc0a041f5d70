#include "worker/link/text_pairs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"
#include "tests/worker/link/talks.h"

namespace tenon::link {
namespace {

using ::testing::HasSubstr;
using testing::Talks;
using testing::Template;

TEST(ToTextPairs, MakesEveryRow) {
  const auto pairs = ToTextPairs(Talks(), Template("say: {dialogue}", "{summary}."));
  ASSERT_TRUE(pairs.ok()) << pairs.status();
  ASSERT_EQ(pairs->size(), 2u);
  EXPECT_EQ((*pairs)[0].input, "say: hi");
  EXPECT_EQ((*pairs)[1].input, "say: no {x}");
  EXPECT_EQ((*pairs)[1].target, "n.");
}

TEST(ToTextPairs, NamesTheRowAndTheTemplate) {
  formats::Dataset data = Talks();
  data.records[1][0] = " ";
  const absl::Status row = ToTextPairs(data, Template("{dialogue}", "{summary}")).status();
  EXPECT_EQ(GetReason(row), Reason::kDatasetInvalid);
  EXPECT_EQ(GetField(row), "row 2");
  EXPECT_THAT(std::string(row.message()), HasSubstr("row 2: field dialogue is empty"));
  EXPECT_EQ(GetField(ToTextPairs(data, Template("{dialogue}", "{summary")).status()), "text_template.target");
}

}  // namespace
}  // namespace tenon::link
