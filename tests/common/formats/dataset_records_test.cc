// Data sets of named texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/formats/dataset.h"
#include "common/formats/status.h"

namespace tenon::formats {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr auto kJson = DatasetFormat::kJsonLines;
constexpr auto kCsv = DatasetFormat::kCsv;
constexpr auto kRecords = DatasetKind::kRecords;

Dataset Read(const std::string& bytes, DatasetFormat format = kJson, std::optional<DatasetKind> kind = std::nullopt) {
  auto dataset = ReadDataset(bytes, format, {}, kind);
  EXPECT_TRUE(dataset.ok()) << dataset.status();
  return dataset.ok() ? *std::move(dataset) : Dataset();
}

TEST(Records, AreToldByColumnsOfNoOtherKind) {
  const Dataset set =
      Read("{\"summary\":\"s1\",\"dialogue\":\"d1\",\"n\":-7}\n{\"dialogue\":\"d2\",\"n\":8,\"summary\":\"s2\"}\n");
  EXPECT_EQ(set.kind, kRecords);
  EXPECT_EQ(set.row_count(), 2);
  EXPECT_THAT(set.fields, ElementsAre("dialogue", "n", "summary"));
  EXPECT_THAT(set.RecordAt(0), ElementsAre(Pair("dialogue", "d1"), Pair("n", "-7"), Pair("summary", "s1")));
  EXPECT_THAT(set.RecordAt(1), ElementsAre(Pair("dialogue", "d2"), Pair("n", "8"), Pair("summary", "s2")));
  EXPECT_THAT(set.warnings, IsEmpty());
  EXPECT_THAT(set.labels, IsEmpty());
}

TEST(Records, ComeFromCsvAndTsv) {
  const Dataset csv = Read("input,target\r\n\"a, b\",\"x\ny\"\r\nc,d\r\n", kCsv);
  EXPECT_EQ(csv.kind, kRecords);
  EXPECT_THAT(csv.RecordAt(0), ElementsAre(Pair("input", "a, b"), Pair("target", "x\ny")));
  EXPECT_THAT(Read("q\ta\n1\t\"2\n", DatasetFormat::kTsv).RecordAt(0), ElementsAre(Pair("a", "\"2"), Pair("q", "1")));
}

TEST(Records, AKindTakesColumnsOfOthersToo) {
  const std::string rows = "{\"text\":\"t\",\"label\":\"l\",\"why\":\"w\"}\n";
  EXPECT_EQ(Read(rows).kind, DatasetKind::kClassification);
  EXPECT_THAT(Read(rows).fields, ElementsAre("label", "text"));
  const Dataset forced = Read(rows, kJson, kRecords);
  EXPECT_EQ(forced.kind, kRecords);
  EXPECT_THAT(forced.RecordAt(0), ElementsAre(Pair("label", "l"), Pair("text", "t"), Pair("why", "w")));
  EXPECT_THAT(Read("{\"id\":1,\"text\":\"t\",\"summary\":\"s\"}", kJson, kRecords).fields,
              ElementsAre("id", "summary", "text"));
}

TEST(Records, AnotherKindIsForcedAsWell) {
  const absl::Status status = ReadDataset("{\"input\":\"a\"}", kJson, {}, DatasetKind::kClassification).status();
  EXPECT_EQ(GetReason(status), Reason::kDatasetInvalid);
  EXPECT_EQ(GetField(status), "row 1, column text");
  const std::string both = "{\"_id\":\"1\",\"text\":\"t\",\"label\":\"l\"}";
  EXPECT_EQ(Read(both, kJson, DatasetKind::kQueries).queries[0].id, "1");
}

TEST(Records, AColumnThatIsNoTextInEveryRowIsNamedWithTheRow) {
  const Dataset set = Read(
      "{\"a\":\"1\",\"list\":[1],\"gone\":\"x\",\"blank\":\"x\",\"null\":null,\"real\":1.5,\"b}\":\"x\",\"text\":\"t\"}"
      "\n"
      "{\"a\":\"2\",\"list\":\"x\",\"blank\":\" \\n\",\"late\":\"x\",\"text\":\"u\"}\n");
  EXPECT_THAT(set.fields, ElementsAre("a", "text"));
  EXPECT_THAT(set.RecordAt(1), ElementsAre(Pair("a", "2"), Pair("text", "u")));
  ASSERT_EQ(set.warnings.size(), 1u);
  for (const char* part :
       {"ignored columns: ", "list (row 1: is a list)", "gone (row 2: is missing)", "blank (row 2: is empty)",
        "null (row 1: is null)", "real (row 1: is a number with a fraction)", "b} (its name has a brace)",
        "late (row 1: is missing)"}) {
    EXPECT_THAT(set.warnings[0], HasSubstr(part));
  }
}

TEST(Records, ASetWithoutAFieldIsAnErrorThatSaysWhy) {
  const absl::Status status = ReadDataset("{\"sentence\":\"a\"}\n{\"text\":\"a\",\"label\":1}\n", kJson).status();
  EXPECT_EQ(GetReason(status), Reason::kDatasetInvalid);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("no column holds a text in every row: sentence (row 2: is missing)"));
  EXPECT_THAT(std::string(ReadDataset("{}", kJson).status().message()), HasSubstr("there are no columns"));
  EXPECT_THAT(std::string(ReadDataset("", kJson, {}, kRecords).status().message()), HasSubstr("no rows"));
}

TEST(Records, BrokenRowsAreErrors) {
  const absl::Status status = ReadDataset("{\"a\":\"1\"}\n{\"a\":\n", kJson).status();
  EXPECT_EQ(GetField(status), "row 2");
  EXPECT_EQ(GetField(ReadDataset("a,b\n1,2\n1\n", kCsv).status()), "row 2");
}

TEST(Records, AColumnThatComesTwiceIsNone) {
  const Dataset set = Read("a,b,a\n1,2,3\n", kCsv);
  EXPECT_THAT(set.fields, ElementsAre("b"));
  EXPECT_THAT(set.warnings[0], HasSubstr("a (row 1: comes twice)"));
}

TEST(Records, LimitsHold) {
  DatasetLimits limits;
  limits.max_text_bytes = 3;
  const auto long_text = ReadDataset("{\"a\":\"1\",\"b\":\"1234\"}", kJson, limits);
  ASSERT_TRUE(long_text.ok());
  EXPECT_THAT(long_text->warnings[0], HasSubstr("b (row 1: has 4 bytes; at most 3 are allowed)"));
  limits = {};
  limits.max_columns = 2;
  EXPECT_THAT(std::string(ReadDataset("a,b,c\n1,2,3\n", kCsv, limits).status().message()),
              HasSubstr("has 3 columns; at most 2"));
  limits = {};
  limits.max_cells = 3;
  EXPECT_TRUE(ReadDataset("a\n1\n2\n3\n", kCsv, limits).ok());
  EXPECT_THAT(std::string(ReadDataset("a\n1\n2\n3\n4\n", kCsv, limits).status().message()),
              HasSubstr("more than 3 texts"));
  // A row that holds nothing takes its room, too.
  EXPECT_FALSE(ReadDataset("{\"a\":\"1\",\"b\":\"1\"}\n{}\n", kJson, limits).ok());
}

TEST(Records, OfAClassificationSet) {
  const Dataset single = Read("{\"text\":\"t\",\"label\":3}");
  EXPECT_THAT(single.RecordAt(0), ElementsAre(Pair("label", "3"), Pair("text", "t")));
  const Dataset several = Read("{\"text\":\"t\",\"labels\":[\"x\",\"y\"]}");
  EXPECT_THAT(several.fields, ElementsAre("text"));
  EXPECT_THAT(several.RecordAt(0), ElementsAre(Pair("text", "t")));
  EXPECT_THAT(Read("{\"_id\":7,\"text\":\"why\"}").fields, IsEmpty());
}

TEST(FirstRecords, AreReadFromABeginningThatMayBeCut) {
  std::string bytes;
  for (int i = 0; i < 5; ++i) absl::StrAppend(&bytes, "{\"a\":\"", i, "\"}\n");
  const auto three = ReadFirstRecords(bytes, kJson, kRecords, 3);
  EXPECT_THAT(three,
              ElementsAre(ElementsAre(Pair("a", "0")), ElementsAre(Pair("a", "1")), ElementsAre(Pair("a", "2"))));
  EXPECT_EQ(ReadFirstRecords(bytes.substr(0, 15), kJson, kRecords, 3).size(), 1u) << "the second row is cut";
  EXPECT_THAT(ReadFirstRecords(bytes.substr(0, 5), kJson, kRecords, 3), IsEmpty());
  EXPECT_THAT(ReadFirstRecords("text,label\na,b\n", kCsv, DatasetKind::kClassification, 3),
              ElementsAre(ElementsAre(Pair("label", "b"), Pair("text", "a"))));
  EXPECT_THAT(ReadFirstRecords("", kCsv, kRecords, 3), IsEmpty());
}

}  // namespace
}  // namespace tenon::formats
