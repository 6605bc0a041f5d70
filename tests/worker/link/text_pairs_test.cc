#include "worker/link/text_pairs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"

namespace tenon::link {
namespace {

using ::testing::HasSubstr;

formats::Dataset Talks() {
  return *formats::ReadDataset("{\"dialogue\":\"hi\",\"summary\":\"h\"}\n{\"dialogue\":\"no {x}\",\"summary\":\"n\"}\n",
                               formats::DatasetFormat::kJsonLines);
}

v1::TextTemplate Template(const std::string& input, const std::string& target) {
  v1::TextTemplate text_template;
  text_template.set_input(input);
  text_template.set_target(target);
  return text_template;
}

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
