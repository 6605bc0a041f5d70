#include "client/cli/documents.h"

#include <gtest/gtest.h>

#include "common/formats/status.h"

namespace tenon::cli {
namespace {

TEST(ParseDocuments, ReadsIdTextAndMetadata) {
  const auto rows = ParseDocuments(R"({"id":"a","text":"one","metadata":{"area":"x","level":2,"open":true}})"
                                   "\n\n"
                                   R"({"id":"b","text":"zwei ü","extra":1})");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_TRUE(rows[0].error.ok());
  EXPECT_EQ(rows[0].document.id(), "a");
  EXPECT_EQ(rows[0].document.metadata().fields().at("area").string_value(), "x");
  EXPECT_EQ(rows[0].document.metadata().fields().at("level").number_value(), 2);
  EXPECT_TRUE(rows[0].document.metadata().fields().at("open").bool_value());
  EXPECT_EQ(rows[1].number, 2);  // a blank line is no row
  EXPECT_EQ(rows[1].document.text(), "zwei ü");
}

TEST(ParseDocuments, ABadRowCarriesItsErrorAndTheOthersGoOn) {
  const auto rows = ParseDocuments(
      "not json\n{\"id\":\"a\"}\n{\"id\":7,\"text\":\"x\"}\n[1]\n{\"id\":\"a\",\"text\":\"x\"}\n"
      "{\"id\":\"m\",\"text\":\"x\",\"metadata\":[1]}\n");
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_EQ(GetReason(rows[0].error), Reason::kFieldInvalid);
  EXPECT_EQ(GetReason(rows[1].error), Reason::kFieldRequired);
  EXPECT_EQ(GetField(rows[1].error), "text");
  EXPECT_EQ(GetField(rows[2].error), "id");
  EXPECT_EQ(GetReason(rows[3].error), Reason::kFieldInvalid);
  EXPECT_TRUE(rows[4].error.ok());
  EXPECT_EQ(GetField(rows[5].error), "metadata");
}

TEST(ParseDocuments, TheSecondOfTwoEqualIdsIsRefused) {
  const auto rows = ParseDocuments("{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"a\",\"text\":\"y\"}\n");
  EXPECT_TRUE(rows[0].error.ok());
  EXPECT_EQ(GetReason(rows[1].error), Reason::kDocumentDuplicate);
}

}  // namespace
}  // namespace tenon::cli
