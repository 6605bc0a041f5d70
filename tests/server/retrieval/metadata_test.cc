#include "server/retrieval/metadata.h"

#include <gtest/gtest.h>

#include <limits>

#include "common/formats/status.h"

namespace tenon::server {
namespace {

google::protobuf::Struct Fields() {
  google::protobuf::Struct fields;
  (*fields.mutable_fields())["lang"].set_string_value("en");
  (*fields.mutable_fields())["year"].set_number_value(1970);
  (*fields.mutable_fields())["draft"].set_bool_value(false);
  return fields;
}

TEST(MetadataTest, MatchesWhenEveryValueIsEqual) {
  const Metadata document = *ParseMetadata(Fields(), "metadata");
  google::protobuf::Struct filter;
  EXPECT_TRUE(Matches(document, *ParseMetadata(filter, "filter")));
  (*filter.mutable_fields())["year"].set_number_value(1970);
  EXPECT_TRUE(Matches(document, *ParseMetadata(filter, "filter")));
  (*filter.mutable_fields())["draft"].set_bool_value(false);
  (*filter.mutable_fields())["lang"].set_string_value("en");
  EXPECT_TRUE(Matches(document, *ParseMetadata(filter, "filter")));
  (*filter.mutable_fields())["lang"].set_string_value("de");
  EXPECT_FALSE(Matches(document, *ParseMetadata(filter, "filter")));
}

TEST(MetadataTest, TypesAndMissingKeysCount) {
  const Metadata document = *ParseMetadata(Fields(), "metadata");
  EXPECT_FALSE(Matches(document, {{"year", std::string("1970")}}));
  EXPECT_FALSE(Matches(document, {{"draft", 0.0}}));
  EXPECT_FALSE(Matches(document, {{"author", std::string("x")}}));
  EXPECT_FALSE(Matches({}, {{"lang", std::string("en")}}));
}

TEST(MetadataTest, RefusesWhatFiltersCannotCompare) {
  google::protobuf::Struct fields = Fields();
  (*fields.mutable_fields())["tags"].mutable_list_value();
  const auto list = ParseMetadata(fields, "documents[3].metadata");
  EXPECT_EQ(GetReason(list.status()), Reason::kFieldInvalid);
  EXPECT_EQ(GetField(list.status()), "documents[3].metadata");
  EXPECT_NE(std::string(list.status().message()).find("tags"), std::string::npos);

  fields = Fields();
  (*fields.mutable_fields())["year"].set_number_value(std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(GetReason(ParseMetadata(fields, "metadata").status()), Reason::kFieldInvalid);
  (*fields.mutable_fields())["year"].set_null_value(google::protobuf::NULL_VALUE);
  EXPECT_EQ(GetReason(ParseMetadata(fields, "metadata").status()), Reason::kFieldInvalid);
}

TEST(MetadataTest, IsBounded) {
  google::protobuf::Struct many;
  for (int i = 0; i < 65; ++i) (*many.mutable_fields())["k" + std::to_string(i)].set_number_value(i);
  EXPECT_EQ(GetReason(ParseMetadata(many, "metadata").status()), Reason::kFieldInvalid);
  google::protobuf::Struct large;
  (*large.mutable_fields())["k"].set_string_value(std::string(70'000, 'x'));
  EXPECT_EQ(GetReason(ParseMetadata(large, "metadata").status()), Reason::kFieldInvalid);
}

}  // namespace
}  // namespace tenon::server
