#include "common/formats/utf8.h"

#include <gtest/gtest.h>

#include "common/formats/status.h"

namespace tenon::formats {
namespace {

TEST(Utf8, AcceptsWellFormedText) {
  for (const char* text : {"", "ascii", "\xC3\xA9", "\xE4\xB8\xAD", "\xF0\x9F\x98\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(IsValidUtf8(text)) << text;
  }
  EXPECT_TRUE(IsValidUtf8(std::string("a\0b", 3)));
}

TEST(Utf8, RefusesTheRest) {
  for (const char* text :
       {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE4\xB8", "\xED\xA0\x80", "\xF0\x80\x80\x80",
        "\xF0\x9F\x98", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "a\xC3z"}) {
    EXPECT_FALSE(IsValidUtf8(text));
  }
}

TEST(CheckText, NamesReasonAndField) {
  EXPECT_TRUE(CheckText("x", 1, "text").ok());
  EXPECT_EQ(GetReason(CheckText("", 10, "text")), Reason::kTextEmpty);
  EXPECT_EQ(GetReason(CheckText(" \t\r\n", 10, "text")), Reason::kTextEmpty);
  EXPECT_EQ(GetReason(CheckText("xx", 1, "text")), Reason::kTextTooLarge);
  EXPECT_EQ(GetReason(CheckText("\xFF", 10, "rows[2].text")), Reason::kTextNotUtf8);
  EXPECT_EQ(GetField(CheckText("\xFF", 10, "rows[2].text")), "rows[2].text");
}

TEST(TenonStatus, KeepsReasonFieldAndCode) {
  const absl::Status status = TenonError(Reason::kDiskFull, "no room", "data");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  const absl::Status annotated = Annotate(status, "store: ");
  EXPECT_EQ(std::string(annotated.message()), "store: no room");
  EXPECT_EQ(GetReason(annotated), Reason::kDiskFull);
  EXPECT_EQ(GetField(annotated), "data");
  EXPECT_EQ(GetReason(absl::InternalError("x")), Reason::kUnspecified);
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
}

TEST(TenonStatus, NamesAreOneToOne) {
  for (int i = 1; i <= static_cast<int>(Reason::kInternal); ++i) {
    const auto reason = static_cast<Reason>(i);
    EXPECT_EQ(ReasonFromName(ReasonName(reason)), reason) << ReasonName(reason);
    EXPECT_NE(ReasonCode(reason), absl::StatusCode::kOk);
  }
  EXPECT_EQ(ReasonFromName("NO_SUCH"), Reason::kUnspecified);
}

}  // namespace
}  // namespace tenon::formats
