// Rows of words with tags, and of questions with answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/bio.h"
#include "common/formats/dataset.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"

namespace tenon::formats {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::StatusOr<Dataset> ReadSpans(const std::string& bytes, DatasetFormat format = DatasetFormat::kJsonLines) {
  return ReadDataset(bytes, format);
}

void ExpectBroken(const std::string& row, const std::string& field, const std::string& what) {
  const absl::Status status = ReadSpans(row).status();
  EXPECT_EQ(GetReason(status), Reason::kDatasetInvalid) << row;
  EXPECT_EQ(GetField(status), field) << row;
  EXPECT_THAT(std::string(status.message()), HasSubstr(what)) << row;
}

TEST(Tags, AreToldByTheirColumns) {
  const auto set = ReadSpans(
      "{\"words\":[\"Ada\",\"L\",\"ran\"],\"tags\":[\"B-PER\",\"I-PER\",\"O\"],\"id\":7}\n"
      "{\"words\":[\"a\"],\"tags\":[\"O\"]}\n");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->kind, DatasetKind::kTags);
  EXPECT_EQ(set->row_count(), 2);
  EXPECT_THAT(set->labels, ElementsAre("B-PER", "I-PER", "O"));
  EXPECT_THAT(set->tags[0].words, ElementsAre("Ada", "L", "ran"));
  const auto indices = LabelIndices(*set, {"O", "I-PER", "B-PER"});
  ASSERT_TRUE(indices.ok());
  EXPECT_THAT((*indices)[0], ElementsAre(2, 1, 0));
  EXPECT_EQ(GetField(LabelIndices(*set, {"O"}).status()), "row 1, column tags");
  EXPECT_EQ(ReadSpans("{\"tokens\":[\"a\"],\"tags\":[\"O\"]}")->tags[0].words, std::vector<std::string>{"a"});
}

TEST(Tags, ThatAreNoBioAreNamed) {
  ExpectBroken("{\"words\":[\"a\",\"b\"],\"tags\":[\"O\"]}", "row 1, column tags", "1 tags for 2 words");
  ExpectBroken("{\"words\":[\"a\"],\"tags\":[\"S-X\"]}", "row 1, column tags", "none of O, B-TYPE and I-TYPE");
  ExpectBroken("{\"words\":[\"a\"],\"tags\":[\"B-\"]}", "row 1, column tags", "none of");
  ExpectBroken("{\"words\":[\"a\"],\"tags\":[\"I-X\"]}", "row 1, column tags", "BIO begins it with B-X");
  ExpectBroken("{\"words\":[\"a\",\"b\"],\"tags\":[\"B-X\",\"I-Y\"]}", "row 1, column tags", "[1] \"I-Y\"");
  ExpectBroken("{\"words\":[\"a\",\" \"],\"tags\":[\"O\",\"O\"]}", "row 1, column words", "[1] is empty");
  ExpectBroken("{\"words\":\"a\",\"tags\":[\"O\"]}", "row 1, column words", "must be a list");
  ExpectBroken("{\"words\":[],\"tags\":[]}", "row 1, column words", "is empty");
}

TEST(Tags, MarkEntitiesAsConllevalHasThem) {
  EXPECT_THAT(Entities({"O", "B-A", "I-A", "B-A", "O"}), ElementsAre(Entity{"A", 1, 3}, Entity{"A", 3, 4}));
  EXPECT_THAT(Entities({"I-A", "I-B", "I-B"}), ElementsAre(Entity{"A", 0, 1}, Entity{"B", 1, 3}));
  EXPECT_THAT(Entities({"B-A", "O", "I-A"}), ElementsAre(Entity{"A", 0, 1}, Entity{"A", 2, 3}));
  EXPECT_THAT(Entities({"O", "X"}), IsEmpty());
}

TEST(Answers, ComeInSquadsFormAndFlat) {
  const auto set = ReadSpans(
      "{\"question\":\"q\",\"context\":\"é b c\",\"answers\":{\"text\":[\"b\",\"c\"],\"answer_start\":[2,4]}}\n"
      "{\"question\":\"q\",\"context\":\"a\",\"answers\":{\"text\":[],\"answer_start\":[]}}\n"
      "{\"question\":\"q\",\"context\":\"a b\",\"answer\":\"b\",\"answer_start\":2}\n"
      "{\"question\":\"q\",\"context\":\"a b\"}\n");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->kind, DatasetKind::kAnswers);
  ASSERT_EQ(set->answers.size(), 4u);
  EXPECT_EQ(set->answers[0].answers[0].begin, 3);  // a byte: é has two
  EXPECT_EQ(set->answers[0].answers[1].text, "c");
  EXPECT_THAT(set->answers[1].answers, IsEmpty());
  EXPECT_EQ(set->answers[2].answers[0].begin, 2);
  EXPECT_THAT(set->answers[3].answers, IsEmpty());
  const auto csv = ReadSpans("question,context,answer,answer_start\nq,a b,b,2\nq,a,,\n", DatasetFormat::kCsv);
  ASSERT_TRUE(csv.ok()) << csv.status();
  EXPECT_EQ(csv->answers[0].answers[0].begin, 2);
  EXPECT_THAT(csv->answers[1].answers, IsEmpty());
}

TEST(Answers, ThatAreNotWhereTheySayAreNamed) {
  const auto row = [](const std::string& answers) {
    return "{\"question\":\"q\",\"context\":\"a b\",\"answers\":" + answers + "}";
  };
  const std::string column = "row 1, column answers";
  ExpectBroken(row("{\"text\":[\"b\"],\"answer_start\":[1]}"), column, "another text does");
  ExpectBroken(row("{\"text\":[\"b\"],\"answer_start\":[9]}"), column, "the context is shorter");
  ExpectBroken(row("{\"text\":[\"b\"],\"answer_start\":[-1]}"), column, "the context is shorter");
  ExpectBroken(row("{\"text\":[\"b\"],\"answer_start\":[]}"), column, "1 texts for 0 places");
  ExpectBroken(row("{\"text\":[\"\"],\"answer_start\":[0]}"), column, "empty text");
  ExpectBroken(row("{\"text\":[\"b\"],\"answer_start\":[\"2\"]}"), "row 1, column answer_start", "an integer");
  ExpectBroken(row("[\"b\"]"), column, "an object of the lists");
  ExpectBroken(row("{\"text\":{\"a\":[1]}}"), column, "must hold the lists");
  ExpectBroken("{\"question\":\" \",\"context\":\"a\",\"answers\":{}}", "row 1, column question", "is empty");
}

TEST(Utf8, CountsCharacters) {
  EXPECT_EQ(ByteOfCharacter("aéb", 2), 3u);
  EXPECT_EQ(ByteOfCharacter("aéb", 3), 4u);
  EXPECT_EQ(ByteOfCharacter("aéb", 4), std::nullopt);
  EXPECT_EQ(CharacterOfByte("aéb", 3), 2);
  EXPECT_EQ(CharacterOfByte("aéb", 99), 3);
}

}  // namespace
}  // namespace tenon::formats
