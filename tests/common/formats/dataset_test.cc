#include "common/formats/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::formats {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Dataset Read(const std::string& bytes, DatasetFormat format = DatasetFormat::kJsonLines) {
  auto dataset = ReadDataset(bytes, format);
  EXPECT_TRUE(dataset.ok()) << dataset.status();
  return dataset.ok() ? *std::move(dataset) : Dataset();
}

void ExpectError(const std::string& bytes, DatasetFormat format, const std::string& field, const std::string& message,
                 const DatasetLimits& limits = {}) {
  const absl::Status status = ReadDataset(bytes, format, limits).status();
  EXPECT_EQ(GetReason(status), Reason::kDatasetInvalid) << bytes << status;
  EXPECT_EQ(GetField(status), field) << bytes;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

constexpr auto kJson = DatasetFormat::kJsonLines;
constexpr auto kCsv = DatasetFormat::kCsv;
constexpr auto kTsv = DatasetFormat::kTsv;
constexpr char kGood[] = "{\"text\":\"a\",\"label\":1}\n";

TEST(Dataset, FormatByName) {
  EXPECT_EQ(*DatasetFormatFromName("a.jsonl"), kJson);
  EXPECT_EQ(*DatasetFormatFromName("dir.csv/a.JSON"), kJson);
  EXPECT_EQ(*DatasetFormatFromName("a.csv"), kCsv);
  EXPECT_EQ(*DatasetFormatFromName("a.b.tsv"), kTsv);
  for (const char* name : {"a.txt", "jsonl", "", "a.jsonl.gz"}) {
    EXPECT_EQ(GetReason(DatasetFormatFromName(name).status()), Reason::kOptionInvalid) << name;
  }
}

TEST(Dataset, ClassificationFromJsonLines) {
  const Dataset set = Read(
      "\xEF\xBB\xBF{\"text\":\"one\",\"label\":\"b\",\"src\":{\"x\":[1]}}\r\n\n{\"label\":\"a\",\"text\":"
      "\"t\\u00e9\"}");
  EXPECT_EQ(set.kind, DatasetKind::kClassification);
  EXPECT_FALSE(set.multi_label);
  ASSERT_EQ(set.row_count(), 2);
  EXPECT_EQ(set.classification[1].text, "t\xC3\xA9");
  EXPECT_THAT(set.classification[0].labels, ElementsAre("b"));
  EXPECT_THAT(set.labels, ElementsAre("a", "b"));
  EXPECT_THAT(set.warnings, ElementsAre("ignored columns: src"));
}

TEST(Dataset, IntegerLabelsAreOrderedAsNumbers) {
  std::string bytes;
  for (const int label : {10, 9, -1, 2}) absl::StrAppend(&bytes, "{\"text\":\"t\",\"label\":", label, "}\n");
  EXPECT_THAT(Read(bytes).labels, ElementsAre("-1", "2", "9", "10"));
  absl::StrAppend(&bytes, "{\"text\":\"t\",\"label\":\"x\"}");
  EXPECT_THAT(Read(bytes).labels, ElementsAre("-1", "10", "2", "9", "x"));
  EXPECT_THAT(Read("text\tlabel\nt\t9\nt\t10\n", kTsv).labels, ElementsAre("9", "10"));
  EXPECT_THAT(Read("text\tlabel\nt\t09\nt\t10\nt\t9\n", kTsv).labels, ElementsAre("09", "10", "9"));
}

TEST(Dataset, ManyLabelsForARow) {
  const Dataset set = Read("{\"text\":\"a\",\"labels\":[\"x\",2]}\n{\"text\":\"b\",\"labels\":[]}\n");
  EXPECT_TRUE(set.multi_label);
  EXPECT_THAT(set.classification[0].labels, ElementsAre("x", "2"));
  EXPECT_THAT(set.classification[1].labels, IsEmpty());
  ExpectError("{\"text\":\"a\",\"labels\":[]}", kJson, "labels", "no row has a label");
  ExpectError("{\"text\":\"a\",\"labels\":\"x\"}", kJson, "row 1, column labels", "must be a list, not a string");
  ExpectError("{\"text\":\"a\",\"labels\":[\"x\",\"x\"]}", kJson, "row 1, column labels", "has \"x\" twice");
  ExpectError("{\"text\":\"a\",\"labels\":[1]}\n{\"text\":\"a\",\"labels\":[1.5]}", kJson, "row 2, column labels",
              "not a number with a fraction");
  ExpectError("{\"text\":\"a\",\"labels\":[\"x\"],\"label\":1}", kJson, "row 1, column labels", "use one of them");
  ExpectError("text,labels\na,x\n", kCsv, "row 1, column labels", "only JSON lines can hold");
}

TEST(Dataset, QueriesAndQrels) {
  const Dataset queries = Read("{\"_id\":7,\"text\":\"why\"}\n{\"_id\":\"8\",\"text\":\"how\"}");
  EXPECT_EQ(queries.kind, DatasetKind::kQueries);
  EXPECT_EQ(queries.queries[0].id, "7");
  EXPECT_EQ(queries.queries[1].text, "how");
  const Dataset qrels = Read("query-id\tcorpus-id\tscore\r\n1\t184\t1\r\n1\t29\t-2\r\n", kTsv);
  EXPECT_EQ(qrels.kind, DatasetKind::kQrels);
  EXPECT_EQ(qrels.qrels[1].document_id, "29");
  EXPECT_EQ(qrels.qrels[1].score, -2);
  ExpectError("{\"id\":\"1\",\"text\":\"a\"}\n{\"id\":1,\"text\":\"b\"}", kJson, "row 2, column id",
              "\"1\" occurs twice");
  ExpectError("{\"id\":\"\",\"text\":\"a\"}", kJson, "row 1, column id", "is empty");
  ExpectError(absl::StrCat("{\"id\":\"", std::string(513, 'x'), "\",\"text\":\"a\"}"), kJson, "row 1, column id",
              "513 bytes");
  ExpectError("query-id\tcorpus-id\tscore\n1\t2\t1\n1\t2\t0\n", kTsv, "row 2, column corpus-id",
              "\"2\" occurs twice for query \"1\"");
  ExpectError("query-id\tcorpus-id\tscore\n1\t2\t1.0\n", kTsv, "row 1, column score", "\"1.0\" is not an integer");
  ExpectError("{\"query-id\":1,\"corpus-id\":2,\"score\":0.5}", kJson, "row 1, column score", "must be an integer");
}

TEST(Dataset, CsvFollowsRfc4180) {
  const Dataset set = Read("text,label,note\r\n\"a, \"\"b\"\"\nc\",x,\r\nplain \"q\" text,y,\"\"\r\n\r\n", kCsv);
  ASSERT_EQ(set.row_count(), 2);
  EXPECT_EQ(set.classification[0].text, "a, \"b\"\nc");
  EXPECT_EQ(set.classification[1].text, "plain \"q\" text");
  EXPECT_THAT(set.warnings, ElementsAre("ignored columns: note"));
  ExpectError("text,label\n\"a,x\n", kCsv, "row 1", "a quote that is never closed");
  ExpectError("text,label\nok,1\n\"a\"b,x\nok,2\n", kCsv, "row 2", "text behind a closing quote");
  ExpectError("text,label\na\n", kCsv, "row 1", "has 1 cells; the header has 2");
  ExpectError("text,label\na,b,c\n", kCsv, "row 1", "has 3 cells");
  ExpectError("text,label,text\na,b,c\n", kCsv, "", "column \"text\" twice");
  ExpectError("", kCsv, "", "no header");
  ExpectError("text,label\n", kCsv, "", "no rows");
  ExpectError("text,label\na,\n", kCsv, "row 1, column label", "is empty");
}

TEST(Dataset, TsvHasNoQuotes) {
  EXPECT_EQ(Read("text\tlabel\n\" oh\tx\n", kTsv).classification[0].text, "\" oh");
  EXPECT_EQ(Read("label\ttext\nx\tends with quote\"\n", kTsv).classification[0].text, "ends with quote\"");
}

struct BrokenRow {
  const char* json;
  const char* field;
  const char* message;
};

class BrokenJsonRow : public ::testing::TestWithParam<BrokenRow> {};

TEST_P(BrokenJsonRow, NamesRowAndColumn) {
  ExpectError(absl::StrCat(kGood, GetParam().json, "\n"), kJson, GetParam().field, GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    All, BrokenJsonRow,
    ::testing::Values(BrokenRow{"{\"text\":\"\",\"label\":1}", "row 2, column text", "is empty"},
                      BrokenRow{"{\"text\":\" \\t\",\"label\":1}", "row 2, column text", "is empty"},
                      BrokenRow{"{\"label\":1}", "row 2, column text", "is missing"},
                      BrokenRow{"{\"text\":null,\"label\":1}", "row 2, column text", "not null"},
                      BrokenRow{"{\"text\":5,\"label\":1}", "row 2, column text", "must be a string, not an integer"},
                      BrokenRow{"{\"text\":[\"a\"],\"label\":1}", "row 2, column text", "not a list"},
                      BrokenRow{"{\"text\":\"a\"}", "row 2, column label", "is missing"},
                      BrokenRow{"{\"text\":\"a\",\"label\":null}", "row 2, column label", "not null"},
                      BrokenRow{"{\"text\":\"a\",\"label\":true}", "row 2, column label", "not a boolean"},
                      BrokenRow{"{\"text\":\"a\",\"label\":1.0}", "row 2, column label", "a number with a fraction"},
                      BrokenRow{"{\"text\":\"a\",\"label\":{}}", "row 2, column label", "not an object"},
                      BrokenRow{"{\"text\":\"a\",\"label\":\"\"}", "row 2, column label", "is empty"},
                      BrokenRow{"{\"text\":\"a\",\"label\":1,\"label\":2}", "row 2", "the key \"label\" twice"},
                      BrokenRow{"{\"text\":\"a\",\"label\":1", "row 2", "is not valid JSON"},
                      BrokenRow{"{\"text\":\"\\ud800\",\"label\":1}", "row 2", "is not valid JSON"},
                      BrokenRow{"{\"text\":\"\xC3\",\"label\":1}", "row 2", "is not valid UTF-8"},
                      BrokenRow{"[1]", "row 2", "is a list, not an object"}, BrokenRow{"7", "row 2", "not an object"},
                      BrokenRow{"{} {}", "row 2", "is not valid JSON"}));

TEST(Dataset, FirstRowDecidesTheKind) {
  ExpectError("{\"sentence\":\"a\",\"label\":1}", kJson, "row 1, column text", "is missing");
  ExpectError("{\"sentence\":\"a\"}\n" + std::string(kGood), kJson, "", "no column holds a text in every row");
  ExpectError("", kJson, "", "no rows");
  ExpectError("\n \n", kJson, "", "no rows");
}

TEST(Dataset, ListsTenBrokenRowsAndCountsAll) {
  std::string bytes = kGood;
  for (int i = 0; i < 25; ++i) bytes += "{\"text\":\"\",\"label\":1}\n";
  const absl::Status status = ReadDataset(bytes, kJson).status();
  EXPECT_EQ(GetField(status), "row 2, column text");
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr("25 of 26 rows are broken: row 2, column text: is empty; row 3"));
  EXPECT_THAT(message, HasSubstr("row 11, column text: is empty; and 15 more"));
  EXPECT_EQ(message.find("row 12,"), std::string::npos);
}

TEST(Dataset, LimitsHold) {
  DatasetLimits limits;
  limits.max_text_bytes = 3;
  ExpectError("{\"text\":\"abcd\",\"label\":1}", kJson, "row 1, column text", "has 4 bytes; at most 3", limits);
  limits = {};
  limits.max_rows = 1;
  ExpectError(std::string(kGood) + kGood, kJson, "", "more than 1 rows", limits);
  limits = {};
  limits.max_labels = 1;
  ExpectError(std::string(kGood) + "{\"text\":\"b\",\"label\":2}", kJson, "row 2, column label",
              "more than 1 different labels", limits);
  limits = {};
  limits.max_label_bytes = 2;
  ExpectError("{\"text\":\"b\",\"label\":\"xyz\"}", kJson, "row 1, column label", "has 3 bytes", limits);
}

TEST(Dataset, DeepRowsAreRefused) {
  ExpectError(absl::StrCat("{\"text\":\"a\",\"label\":1,\"x\":", std::string(100'000, '['), "}"), kJson, "row 1",
              "more than 64 levels");
}

TEST(LabelIndices, FollowTheGivenOrder) {
  const Dataset set = Read("{\"text\":\"a\",\"labels\":[\"x\",\"z\"]}\n{\"text\":\"b\",\"labels\":[\"y\"]}");
  const auto indices = LabelIndices(set, {"z", "y", "x"});
  ASSERT_TRUE(indices.ok());
  EXPECT_THAT(*indices, ElementsAre(ElementsAre(2, 0), ElementsAre(1)));
  const absl::Status unknown = LabelIndices(set, {"x", "z"}).status();
  EXPECT_EQ(GetReason(unknown), Reason::kLabelUnknown);
  EXPECT_EQ(GetField(unknown), "row 2, column labels");
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("\"y\" is not in the label set"));
}

TEST(Dataset, ReadsTheSharedSets) {
  const std::filesystem::path data = test::SharedData();
  if (data.empty()) GTEST_SKIP() << "no shared data";
  const auto read = [&](const char* name) {
    std::ifstream in(data / name, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const std::clock_t start = std::clock();
    Dataset set = Read(bytes, *DatasetFormatFromName(name));
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    // A second of processor for 10 MB; ten times that where sanitizers slow it.
    EXPECT_LT(seconds, 1 + static_cast<double>(bytes.size()) / 1e6) << name;
    return set;
  };
  EXPECT_EQ(read("agnews/train.jsonl").row_count(), 38601);
  const Dataset sst2 = read("cls/sst2/train.jsonl");
  EXPECT_EQ(sst2.row_count(), 67349);
  EXPECT_THAT(sst2.labels, ElementsAre("0", "1"));
  EXPECT_EQ(read("retrieval/cranfield/qrels.tsv").kind, DatasetKind::kQrels);
  EXPECT_EQ(read("retrieval/cranfield/queries.jsonl").queries.size(), 225u);
}

TEST(Dataset, PairsAndTextsAlone) {
  const Dataset set = Read(
      "{\"text\":\"a\",\"text_pair\":\"b\",\"label\":1}\n{\"text\":\"c\",\"label\":0}\n"
      "{\"text\":\"d\",\"text_pair\":null,\"label\":0}\n");
  EXPECT_EQ(set.pair_count, 1);
  EXPECT_EQ(set.classification[0].text_pair, "b");
  EXPECT_EQ(set.classification[1].text_pair, "");
  EXPECT_THAT(set.fields, ElementsAre("label", "text"));
  EXPECT_THAT(set.warnings, IsEmpty());
  const Dataset cells = Read("text,text_pair,label\na,b,x\nc,,y\n", kCsv);
  EXPECT_EQ(cells.pair_count, 1);
  EXPECT_EQ(cells.classification[1].text_pair, "");
}

TEST(Dataset, TemplatesMayUsePairsThatEveryRowHas) {
  const Dataset set = Read("{\"text\":\"a\",\"text_pair\":\"b\",\"labels\":[\"x\"]}");
  EXPECT_THAT(set.fields, ElementsAre("text", "text_pair"));
  EXPECT_EQ(set.RecordAt(0).at("text_pair"), "b");
}

TEST(Dataset, BrokenPairsNameTheirColumn) {
  const std::string row = "{\"text\":\"a\",\"label\":1,\"text_pair\":";
  ExpectError(row + "7}", kJson, "row 1, column text_pair", "must be a string, not an integer");
  ExpectError(row + "\"\"}", kJson, "row 1, column text_pair", "is empty");
  ExpectError(kGood + row + "\" \"}", kJson, "row 2, column text_pair", "is empty");
  ExpectError("text,text_pair,label\na, ,x\n", kCsv, "row 1, column text_pair", "is empty");
  DatasetLimits limits;
  limits.max_text_bytes = 2;
  ExpectError(row + "\"abc\"}", kJson, "row 1, column text_pair", "has 3 bytes; at most 2", limits);
}

TEST(Dataset, LabelsWithAFractionAreNumbers) {
  const Dataset set = Read(
      "{\"text\":\"a\",\"text_pair\":\"b\",\"label\":2.5}\n{\"text\":\"c\",\"text_pair\":\"d\",\"label\":-3e-1}\n"
      "{\"text\":\"e\",\"text_pair\":\"f\",\"label\":4}\n");
  EXPECT_EQ(set.kind, DatasetKind::kRegression);
  EXPECT_EQ(set.value_count, 1);
  EXPECT_EQ(set.pair_count, 3);
  EXPECT_THAT(set.classification[1].values, ElementsAre(-0.3f));
  EXPECT_THAT(set.classification[2].values, ElementsAre(4));
  EXPECT_THAT(set.labels, IsEmpty());
  EXPECT_THAT(set.fields, ElementsAre("text", "text_pair"));
}

TEST(Dataset, NumbersThatCouldBeClassesAreSoWhereItIsSaid) {
  const auto read = [](const std::string& bytes, DatasetFormat format) {
    return ReadDataset(bytes, format, {}, DatasetKind::kRegression);
  };
  EXPECT_EQ(Read(kGood).kind, DatasetKind::kClassification);
  EXPECT_THAT(read(kGood, kJson)->classification[0].values, ElementsAre(1));
  const auto cells = read("text,label\na,1.5\nb, 2 \n", kCsv);
  ASSERT_TRUE(cells.ok()) << cells.status();
  EXPECT_THAT(cells->classification[1].values, ElementsAre(2));
  const Dataset lists = Read("{\"text\":\"a\",\"labels\":[1,2.5]}\n{\"text\":\"b\",\"labels\":[0,1]}\n");
  EXPECT_EQ(lists.value_count, 2);
  EXPECT_THAT(lists.classification[1].values, ElementsAre(0, 1));
}

TEST(Dataset, BrokenNumbersNameTheirRowAndColumn) {
  const auto expect = [](const std::string& rows, DatasetFormat format, const std::string& field,
                         const std::string& message) {
    const absl::Status status = ReadDataset(rows, format, {}, DatasetKind::kRegression).status();
    EXPECT_EQ(GetReason(status), Reason::kDatasetInvalid) << rows;
    EXPECT_EQ(GetField(status), field) << rows << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message)) << rows;
  };
  const std::string good = "{\"text\":\"a\",\"label\":1.5}\n", row = "{\"text\":\"a\",\"label\":";
  expect(good + row + "\"2\"}", kJson, "row 2, column label", "must be a number, not a string");
  expect(good + "{\"text\":\"a\"}", kJson, "row 2, column label", "is missing");
  expect(good + row + "null}", kJson, "row 2, column label", "must be a number, not null");
  expect(good + row + "true}", kJson, "row 2, column label", "must be a number, not a boolean");
  for (const char* number : {"NaN", "Infinity", "-Infinity", "1e999"}) {
    expect(good + row + number + "}", kJson, "row 2, column label", "is not a finite number");
  }
  expect(good + row + "1e300}", kJson, "row 2, column label", "must be a finite number of single precision");
  expect("text,label\na,x\n", kCsv, "row 1, column label", "\"x\" is not a number");
  expect("text,label\na,\n", kCsv, "row 1, column label", "is not a number");
  for (const char* number : {"nan", "inf", "-inf", "1e39"}) {
    expect(absl::StrCat("text,label\na,", number, "\n"), kCsv, "row 1, column label", "must be a finite number");
  }
  const std::string list = "{\"text\":\"a\",\"labels\":";
  expect(list + "[1.5,2]}\n" + list + "[1]}", kJson, "row 2, column labels", "has 1 numbers; rows before it have 2");
  expect(list + "[1.5,\"x\"]}", kJson, "row 1, column labels", "must be a number, not a string");
  expect(list + "[]}", kJson, "row 1, column labels", "is empty");
  expect("text,labels\na,1\n", kCsv, "row 1, column labels", "only JSON lines can hold");
}

}  // namespace
}  // namespace tenon::formats
