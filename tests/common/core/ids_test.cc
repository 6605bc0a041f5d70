#include "common/ids.h"

#include <gtest/gtest.h>

#include <set>

#include "common/formats/status.h"

namespace tenon {
namespace {

TEST(IsValidId, TakesLettersDigitsAndInnerHyphens) {
  EXPECT_TRUE(IsValidId("a"));
  EXPECT_TRUE(IsValidId("minilm-l6-v2"));
  EXPECT_TRUE(IsValidId("0"));
  EXPECT_TRUE(IsValidId(std::string(63, 'a')));
}

TEST(IsValidId, RefusesEverythingElse) {
  for (const std::string& id :
       {std::string(), std::string("-a"), std::string("a-"), std::string("A"), std::string("a_b"), std::string("a/b"),
        std::string(".."), std::string("a\0b", 3), std::string("%2e"), std::string("\xC3\xA4"), std::string(64, 'a')}) {
    EXPECT_FALSE(IsValidId(id)) << id;
  }
}

TEST(ParseName, TakesTheBareIdAndTheResourceName) {
  EXPECT_EQ(*ParseName("bases", "minilm", "base"), "minilm");
  EXPECT_EQ(*ParseName("bases", "bases/minilm", "base"), "minilm");
}

TEST(ParseName, NamesTheFieldOfABadId) {
  const auto missing = ParseName("bases", "", "base");
  EXPECT_EQ(GetReason(missing.status()), Reason::kFieldRequired);
  const auto other = ParseName("bases", "adapters/x", "collection.base");
  EXPECT_EQ(GetReason(other.status()), Reason::kIdInvalid);
  EXPECT_EQ(GetField(other.status()), "collection.base");
}

TEST(ParseAdapterName, SplitsTheRevision) {
  const std::string digest(64, 'b');
  const auto parsed = ParseAdapterName("adapters/news/revisions/" + digest, "adapter");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->id, "news");
  EXPECT_EQ(parsed->revision, digest);
  EXPECT_EQ(ParseAdapterName("news", "adapter")->revision, "");
  EXPECT_EQ(GetReason(ParseAdapterName("news/revisions/../../etc", "adapter").status()), Reason::kIdInvalid);
}

TEST(RandomId, IsValidAndNotRepeated) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = RandomId();
    EXPECT_TRUE(IsValidId(id)) << id;
    EXPECT_EQ(id.size(), 12u);
    EXPECT_TRUE(id[0] >= 'a' && id[0] <= 'z');
    EXPECT_TRUE(seen.insert(id).second);
  }
}

}  // namespace
}  // namespace tenon
