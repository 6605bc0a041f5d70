#include "common/formats/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/files.h"
#include "common/formats/json_fields.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::formats {
namespace {

using ::testing::HasSubstr;

TEST(ParseJson, BuildsTheTree) {
  const auto json = ParseJson(R"({"a":[1,-2,2.5,true,null,"x",{"b":{}}],"c":18446744073709551615})");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->dump(), R"({"a":[1,-2,2.5,true,null,"x",{"b":{}}],"c":18446744073709551615})");
  EXPECT_EQ(*ParseJson("7"), 7);
}

TEST(ParseJson, RefusesWhatIsNotStrict) {
  const auto message = [](const std::string& text) { return std::string(ParseJson(text).status().message()); };
  EXPECT_THAT(message(R"({"a":{"b":1,"b":2}})"), HasSubstr("key \"b\" occurs twice"));
  EXPECT_THAT(message(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("{} x"), HasSubstr("not valid JSON at byte 4"));
  EXPECT_THAT(message("[1,]"), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("[1e999]"), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("\"\xFF\""), HasSubstr("not valid JSON"));
  EXPECT_THAT(message(std::string(1'000'000, '[')), HasSubstr("more than 64 levels"));
  EXPECT_TRUE(ParseJson(R"([{"a":1},{"a":2}])").ok());
}

TEST(JsonFields, KeepsTheFirstError) {
  const nlohmann::json object = {{"n", 5}, {"x", nullptr}, {"s", "text"}, {"list", {"a", 1}}};
  JsonFields fields(object, "f.json", Reason::kBaseInvalid);
  EXPECT_EQ(fields.Int("n", 1, 0, 10), 5);
  EXPECT_EQ(fields.Int("x", 3, 0, 10), 3) << "null is missing";
  EXPECT_EQ(fields.String("s", ""), "text");
  EXPECT_TRUE(fields.status().ok());
  fields.Int("n", 1, 6, 10);
  fields.Strings("list");
  EXPECT_EQ(GetField(fields.status()), "n");
  EXPECT_EQ(GetReason(fields.status()), Reason::kBaseInvalid);
  EXPECT_EQ(std::string(fields.status().message()), "f.json: n is 5; it must be an integer from 6 to 10");
}

TEST(JsonFields, FalsyIsPythons) {
  for (const char* text : {"null", "false", "0", "0.0", "\"\"", "[]", "{}"})
    EXPECT_TRUE(IsFalsy(*ParseJson(text))) << text;
  for (const char* text : {"true", "-1", "\"0\"", "[0]", "{\"a\":null}"})
    EXPECT_FALSE(IsFalsy(*ParseJson(text))) << text;
}

TEST(Files, ReadFileNamesItsTrouble) {
  const test::TempFolder folder;
  folder.Write("f", "12345");
  EXPECT_EQ(*ReadFile(folder.path() / "f", 5, Reason::kBaseInvalid), "12345");
  const auto large = ReadFile(folder.path() / "f", 4, Reason::kAdapterInvalid);
  EXPECT_EQ(GetReason(large.status()), Reason::kAdapterInvalid);
  EXPECT_THAT(std::string(large.status().message()), HasSubstr("f: has 5 bytes; at most 4"));
  EXPECT_THAT(std::string(ReadFile(folder.path() / "g", 5, Reason::kBaseInvalid).status().message()),
              HasSubstr("g: No such file"));
  EXPECT_FALSE(ReadFile(folder.path(), 1 << 20, Reason::kBaseInvalid).ok());
}

TEST(Files, DurableWriteReplacesWhole) {
  const test::TempFolder folder;
  const std::string a = "first, longer", b = "second";
  ASSERT_TRUE(WriteFileDurably(folder.path() / "f", {{a.data(), a.size()}}).ok());
  ASSERT_TRUE(WriteFileDurably(folder.path() / "f", {{b.data(), 3}, {b.data() + 3, 3}}).ok());
  EXPECT_EQ(*ReadFile(folder.path() / "f", 100, Reason::kBaseInvalid), "second");
  EXPECT_EQ(GetReason(WriteFileDurably("/dev/full/f", {})), Reason::kStorageFault);
  // A name that a folder has cannot be replaced; nothing is left behind.
  std::filesystem::create_directory(folder.path() / "d");
  EXPECT_FALSE(WriteFileDurably(folder.path() / "d", {{b.data(), b.size()}}).ok());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
}

}  // namespace
}  // namespace tenon::formats
