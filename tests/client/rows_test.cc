#include "client/cli/rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"

namespace tenon::cli {
namespace {

std::vector<InputRow> Rows(int count) {
  std::vector<InputRow> rows;
  for (int i = 1; i <= count; ++i) rows.push_back({.number = i, .text = absl::StrCat("text ", i)});
  return rows;
}

TEST(ParseTextRows, KeepsIdsAsTheyWereWritten) {
  const auto rows = ParseTextRows("{\"text\":\"a\",\"id\":\"x\"}\n\n{\"id\":17,\"text\":\"b\"}\r\n{\"text\":\"c\"}\n");
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 3u);
  EXPECT_EQ((*rows)[0].id, "x");
  EXPECT_EQ((*rows)[1].id, 17);
  EXPECT_EQ((*rows)[1].number, 2);
  EXPECT_TRUE((*rows)[2].id.is_null());
}

TEST(ParseTextRows, ErrorsNameTheRow) {
  EXPECT_EQ(GetField(ParseTextRows("{\"text\":\"a\"}\nplain\n").status()), "row 2");
  EXPECT_EQ(GetField(ParseTextRows("{\"txt\":\"a\"}\n").status()), "row 1");
  EXPECT_EQ(GetField(ParseTextRows("{\"text\":1}\n").status()), "row 1");
  EXPECT_EQ(GetReason(ParseTextRows("\n\n").status()), Reason::kFieldRequired);
}

TEST(ParseTextRows, TakesPairsWhereTheyAreAskedFor) {
  const std::string bytes =
      "{\"text\":\"a\",\"text_pair\":\"b\"}\n{\"text\":\"c\",\"text_pair\":null}\n{\"text\":\"d\"}\n";
  const auto rows = ParseTextRows(bytes, /*pairs=*/true);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ((*rows)[0].text_pair, "b");
  EXPECT_EQ((*rows)[1].text_pair, "");
  EXPECT_EQ((*rows)[2].text_pair, "");
  EXPECT_EQ((*ParseTextRows(bytes))[0].text_pair, "");
  for (const char* wrong : {"7", "\"\"", "[\"b\"]"}) {
    const auto row = ParseTextRows(absl::StrCat("{\"text\":\"a\",\"text_pair\":", wrong, "}\n"), /*pairs=*/true);
    EXPECT_EQ(GetField(row.status()), "row 1") << wrong;
  }
}

TEST(TextRows, TakesTextsOrAFile) {
  EXPECT_EQ(TextRows({"a", "b"}, "")->size(), 2u);
  EXPECT_FALSE(TextRows({}, "").ok());
  EXPECT_FALSE(TextRows({"a"}, "file.jsonl").ok());
  EXPECT_TRUE(absl::IsNotFound(TextRows({}, "nowhere.jsonl").status()));
}

TEST(CutBatches, ByRowsAndByBytes) {
  const auto rows = Rows(5);
  const auto sizes = [](const auto& batches) {
    std::vector<size_t> sizes;
    for (const auto& batch : batches) sizes.push_back(batch.size());
    return sizes;
  };
  EXPECT_THAT(sizes(CutBatches(rows, 2, 1000)), testing::ElementsAre(2, 2, 1));
  EXPECT_THAT(sizes(CutBatches(rows, 100, 13)), testing::ElementsAre(2, 2, 1));
  // A row that alone is too large still travels.
  EXPECT_THAT(sizes(CutBatches(rows, 100, 1)), testing::ElementsAre(1, 1, 1, 1, 1));
  EXPECT_TRUE(CutBatches({}, 2, 2).empty());
}

TEST(NameRow, TellsTheInputsRow) {
  auto rows = Rows(3);
  rows[2].number = 40;
  const absl::Status named = NameRow(TenonError(Reason::kTextEmpty, "The text is empty.", "texts[2]"), rows);
  EXPECT_EQ(GetField(named), "row 40");
  EXPECT_EQ(GetReason(named), Reason::kTextEmpty);
  EXPECT_EQ(GetField(NameRow(TenonError(Reason::kTextTooLarge, "", "text_pairs[1]"), rows)), "row 2");
  EXPECT_EQ(GetField(NameRow(TenonError(Reason::kFieldInvalid, "", "top_k"), rows)), "top_k");
  EXPECT_EQ(GetField(NameRow(TenonError(Reason::kTextEmpty, "", "texts[9]"), rows)), "texts[9]");
  EXPECT_EQ(GetField(NameRow(TenonError(Reason::kTextEmpty, "", "texts"), rows)), "texts");
  EXPECT_EQ(GetField(NameRow(TenonError(Reason::kFieldInvalid, "", "generation.stop_strings[0]"), rows)),
            "generation.stop_strings[0]")
      << "an option's entry is no row";
}

TEST(ReadInput, AFolderIsNoEmptyFile) {
  EXPECT_EQ(GetReason(ReadInput("/").status()), Reason::kFieldInvalid);
  EXPECT_TRUE(absl::IsNotFound(ReadInput("/nowhere/at/all").status()));
}

TEST(ForEachBatch, AnswersComeInTheOrderOfTheInput) {
  const auto rows = Rows(50);
  client::Calls calls;
  std::atomic<int> flying = 0, most = 0;
  std::array<absl::Notification, 17> answered;
  std::vector<std::string> taken;
  const absl::Status status = ForEachBatch<std::string>(
      CutBatches(rows, 3, 1000), 4, calls,
      [&](absl::Span<const InputRow> batch) -> absl::StatusOr<std::string> {
        const int now = ++flying;
        int seen = most;
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        // The first of each four comes last, so that order is not an accident.
        const size_t index = static_cast<size_t>(batch[0].number) / 3;
        if (index % 4 == 0 && index + 3 < answered.size()) {
          for (size_t later = index + 1; later < index + 4; ++later) answered[later].WaitForNotification();
        }
        --flying;
        answered[index].Notify();
        return batch[0].text;
      },
      [&](absl::Span<const InputRow> batch, const std::string& answer) {
        EXPECT_EQ(answer, batch[0].text);
        taken.push_back(answer);
      });
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(taken.size(), 17u);
  EXPECT_TRUE(std::is_sorted(taken.begin(), taken.end(), [](const auto& a, const auto& b) {
    return std::stoi(a.substr(5)) < std::stoi(b.substr(5));
  }));
  EXPECT_LE(most, 4);
  EXPECT_GE(most, 2) << "they went one by one";
}

TEST(ForEachBatch, TheFirstErrorEndsItAndNamesTheRow) {
  const auto rows = Rows(9);
  client::Calls calls;
  int taken = 0;
  const absl::Status status = ForEachBatch<int>(
      CutBatches(rows, 3, 1000), 1, calls,
      [&](absl::Span<const InputRow> batch) -> absl::StatusOr<int> {
        if (batch[0].number == 4) return TenonError(Reason::kTextEmpty, "The text is empty.", "texts[1]");
        return 0;
      },
      [&](absl::Span<const InputRow>, int) { ++taken; });
  EXPECT_EQ(GetField(status), "row 5");
  EXPECT_EQ(taken, 1);
}

// Each of the others would ask a full queue again for half a minute, for an answer that nobody takes.
TEST(ForEachBatch, TheFirstErrorCancelsTheOthersCalls) {
  const auto rows = Rows(4);
  client::Calls calls;
  std::array<absl::Notification, 4> started;
  std::atomic<int> asked = 0;
  const absl::Status status = ForEachBatch<int>(
      CutBatches(rows, 1, 1000), 4, calls,
      [&](absl::Span<const InputRow> batch) -> absl::StatusOr<int> {
        ++asked;
        if (batch[0].number > 1) {
          if (const size_t index = static_cast<size_t>(batch[0].number) - 1; !started[index].HasBeenNotified())
            started[index].Notify();
          return TenonError(Reason::kQueueFull, "The queue is full.");
        }
        for (size_t other = 1; other < 4; ++other) started[other].WaitForNotification();
        return TenonError(Reason::kTextEmpty, "The text is empty.", "texts[0]");
      },
      [](absl::Span<const InputRow>, int) {});
  EXPECT_EQ(GetField(status), "row 1");
  EXPECT_TRUE(calls.cancelled());
  EXPECT_LE(asked, 7) << "asked again after the end";
}

TEST(ForEachBatch, AFullQueueIsWaitedFor) {
  const auto rows = Rows(1);
  client::Calls calls;
  int attempts = 0;
  const absl::Status status = ForEachBatch<int>(
      CutBatches(rows, 1, 1000), 1, calls,
      [&](absl::Span<const InputRow>) -> absl::StatusOr<int> {
        if (++attempts == 1) return TenonError(Reason::kQueueFull, "The queue is full.");
        return 1;
      },
      [](absl::Span<const InputRow>, int) {});
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(attempts, 2);
}

}  // namespace
}  // namespace tenon::cli
