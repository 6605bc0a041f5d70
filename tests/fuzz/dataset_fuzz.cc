#include <gtest/gtest.h>

#include "common/formats/dataset.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"
#include "tests/fuzz/mutate.h"

namespace tenon::formats {
namespace {

// Whatever is accepted is whole: texts are valid and not empty, labels are in the set.
void Check(const Dataset& set) {
  ASSERT_GT(set.row_count(), 0);
  for (const ClassificationRow& row : set.classification) {
    ASSERT_TRUE(CheckText(row.text, 1 << 20, "text").ok());
    ASSERT_TRUE(set.multi_label || row.labels.size() == 1);
  }
  for (const QueryRow& row : set.queries) ASSERT_TRUE(IsValidUtf8(row.id) && !row.id.empty());
  for (const QrelRow& row : set.qrels) ASSERT_FALSE(row.document_id.empty());
  for (const std::vector<std::string>& row : set.records) {
    ASSERT_EQ(row.size(), set.fields.size());
    for (const std::string& text : row) ASSERT_TRUE(CheckText(text, 1 << 20, "text").ok());
  }
  if (!set.fields.empty()) {
    ASSERT_EQ(set.RecordAt(set.row_count() - 1).size(), set.fields.size());
  }
  ASSERT_TRUE(LabelIndices(set, set.labels).ok());
}

void FuzzRows(DatasetFormat format, std::vector<std::string> seeds, uint64_t number) {
  fuzz::Mutator mutator(std::move(seeds),
                        {"\"",
                         "\"\"",
                         "\n",
                         "\r\n",
                         "\t",
                         ",",
                         "\\ud800",
                         "\"label\":",
                         "\"labels\":[",
                         "null",
                         "true",
                         "1e999",
                         "{",
                         "[",
                         "\xEF\xBB\xBF",
                         "\xC3",
                         std::string(1, '\0'),
                         "18446744073709551616",
                         "\"text\":\"x\"",
                         "query-id"},
                        number);
  int accepted = 0;
  for (int i = 0; i < 60'000; ++i) {
    const std::string bytes = mutator.Next();
    // Every third as records, whatever its columns are.
    const auto kind = i % 3 == 0 ? std::optional(DatasetKind::kRecords) : std::nullopt;
    const auto set = ReadDataset(bytes, format, {}, kind);
    if (set.ok()) {
      ASSERT_LE(ReadFirstRecords(bytes, format, set->kind, 2).size(), 2u);
    }
    if (set.ok()) {
      ++accepted;
      Check(*set);
    } else {
      ASSERT_EQ(GetReason(set.status()), Reason::kDatasetInvalid) << set.status();
      ASSERT_LT(set.status().message().size(), 4000u);
    }
  }
  EXPECT_GT(accepted, 100);
}

TEST(DatasetFuzz, JsonLines) {
  FuzzRows(DatasetFormat::kJsonLines,
           {"{\"text\":\"one\",\"label\":1,\"x\":{\"y\":[1,2]}}\n{\"text\":\"two\",\"label\":\"b\"}\n",
            "{\"text\":\"one\",\"labels\":[\"a\",\"b\"]}\n{\"text\":\"two\",\"labels\":[]}\n",
            "{\"_id\":\"1\",\"text\":\"q\"}\n{\"_id\":2,\"text\":\"r\"}\n",
            "{\"query-id\":\"1\",\"corpus-id\":\"2\",\"score\":1}\n"},
           2);
}

// Whatever is accepted can be filled.
TEST(TemplateFuzz, ParsesOrNamesThePlace) {
  fuzz::Mutator mutator({"summarize: {dialogue}", "{{\"k\": {a}}} {b}"}, {"{", "}", "{{", "}}", "{a}", "{}", "é", " "},
                        5);
  int accepted = 0;
  for (int i = 0; i < 60'000; ++i) {
    const auto pattern = TextPattern::Parse(mutator.Next(), "text_template.input");
    if (!pattern.ok()) {
      ASSERT_EQ(GetReason(pattern.status()), Reason::kFieldInvalid) << pattern.status();
      continue;
    }
    ++accepted;
    Record record;
    for (const std::string& field : pattern->fields()) record[field] = "x";
    ASSERT_TRUE(pattern->Render(record).ok());
    const auto frame = pattern->Around();
    if (frame.ok()) {
      ASSERT_EQ(*pattern->Render(record), frame->before + "x" + frame->after);
    }
  }
  EXPECT_GT(accepted, 100);
}

TEST(DatasetFuzz, Csv) {
  FuzzRows(DatasetFormat::kCsv,
           {"text,label\n\"a, \"\"b\"\"\nc\",x\nplain,y\n", "id,text,extra\r\n1,why,\r\n2,how,z\r\n"}, 3);
}

TEST(DatasetFuzz, Tsv) {
  FuzzRows(DatasetFormat::kTsv, {"query-id\tcorpus-id\tscore\n1\t184\t1\n1\t29\t0\n", "label\ttext\nx\t\"a\n"}, 4);
}

}  // namespace
}  // namespace tenon::formats
