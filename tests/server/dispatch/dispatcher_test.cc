// Admission, credits, affinity, deadlines, loss and retry, with a clock turned by hand.
#include "server/dispatch/dispatcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/formats/status.h"

namespace tenon::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class DispatcherTest : public ::testing::Test {
 protected:
  static CallTicket Ticket(uint64_t id, int64_t charge = 10, const std::string& adapter = "") {
    CallTicket ticket;
    ticket.id = id;
    ticket.tenant = "default";
    ticket.base_digest = "base";
    ticket.adapter_digest = adapter;
    ticket.rows = 1;
    ticket.bytes = charge * 4;
    ticket.charge = charge;
    return ticket;
  }
  void Open(const std::string& session, int64_t credits = 100) {
    dispatcher_.OpenWorker(session, credits);
    dispatcher_.AddBase(session, "base");
  }
  void Admit(const CallTicket& ticket) { ASSERT_TRUE(dispatcher_.Admit(ticket).ok()); }
  // `call@worker` of everything that can go out now.
  std::vector<std::string> Send() {
    std::vector<std::string> sent;
    while (const auto next = dispatcher_.Next()) sent.push_back(std::to_string(next->call) + "@" + next->session);
    return sent;
  }

  ManualClock clock_;
  Dispatcher dispatcher_{clock_, Dispatcher::Options()};
};

TEST_F(DispatcherTest, WaitsForAWorkerThatHoldsTheBase) {
  Admit(Ticket(1));
  EXPECT_THAT(Send(), IsEmpty());
  dispatcher_.OpenWorker("w", 100);
  EXPECT_THAT(Send(), IsEmpty());
  dispatcher_.AddBase("w", "base");
  clock_.Advance(absl::Seconds(3));
  const auto assignment = dispatcher_.Next();
  ASSERT_TRUE(assignment.has_value());
  EXPECT_EQ(assignment->session, "w");
  EXPECT_EQ(assignment->attempt, 1);
  EXPECT_EQ(assignment->waited, absl::Seconds(3));
}

TEST_F(DispatcherTest, ABaseThatIsTakenAwayGetsNoMoreCalls) {
  Open("w", 100);
  Admit(Ticket(1));
  EXPECT_THAT(Send(), ElementsAre("1@w"));
  Admit(Ticket(2));
  dispatcher_.RemoveBase("w", "base");
  EXPECT_THAT(Send(), IsEmpty());
  EXPECT_TRUE(dispatcher_.Complete(1, "w", 10)) << "what it has goes on";
  dispatcher_.AddBase("w", "base");
  EXPECT_THAT(Send(), ElementsAre("2@w"));
}

TEST_F(DispatcherTest, CreditsBoundWhatIsOut) {
  Open("w", 25);
  for (uint64_t id : {1, 2, 3}) Admit(Ticket(id, 10));
  EXPECT_THAT(Send(), ElementsAre("1@w", "2@w"));
  EXPECT_EQ(dispatcher_.load().outstanding, 20);
  EXPECT_EQ(dispatcher_.load().credits, 25);
  EXPECT_TRUE(dispatcher_.Complete(1, "w", 12));
  EXPECT_THAT(Send(), ElementsAre("3@w"));
}

TEST_F(DispatcherTest, ACallLargerThanAllCreditsRunsAloneAndIsNotOvertaken) {
  Open("w", 25);
  Admit(Ticket(1, 10));
  EXPECT_THAT(Send(), ElementsAre("1@w"));
  Admit(Ticket(2, 1000));
  Admit(Ticket(3, 5, "adapter"));
  EXPECT_THAT(Send(), ElementsAre("3@w")) << "both queues were served 10; the tie goes by name";
  Admit(Ticket(4, 5, "adapter"));
  EXPECT_THAT(Send(), IsEmpty()) << "4 would fit, but the large call is first, and what it waits for is kept for it";
  dispatcher_.Complete(1, "w", 0);
  EXPECT_THAT(Send(), IsEmpty());
  dispatcher_.Complete(3, "w", 0);
  EXPECT_THAT(Send(), ElementsAre("2@w"));
  dispatcher_.Complete(2, "w", 900);
  EXPECT_THAT(Send(), ElementsAre("4@w"));
}

TEST_F(DispatcherTest, SpreadsOverWorkersAndPrefersTheOneThatKnowsTheAdapter) {
  Open("w1");
  Open("w2");
  Admit(Ticket(1, 10, "a"));
  Admit(Ticket(2, 10, "b"));
  EXPECT_THAT(Send(), ElementsAre("1@w1", "2@w2"));
  Admit(Ticket(3, 10, "b"));
  Admit(Ticket(4, 10, "a"));
  EXPECT_THAT(Send(), ::testing::UnorderedElementsAre("3@w2", "4@w1"));
}

TEST_F(DispatcherTest, AffinityYieldsToCredits) {
  Open("w1", 10);
  Open("w2", 10);
  Admit(Ticket(1, 10, "a"));
  Admit(Ticket(2, 10, "a"));
  EXPECT_THAT(Send(), ElementsAre("1@w1", "2@w2"));
}

TEST_F(DispatcherTest, AFullQueueRefuses) {
  Dispatcher::Options options;
  options.max_rows = 2;
  Dispatcher dispatcher(clock_, options);
  ASSERT_TRUE(dispatcher.Admit(Ticket(1)).ok());
  ASSERT_TRUE(dispatcher.Admit(Ticket(2)).ok());
  EXPECT_EQ(GetReason(dispatcher.Admit(Ticket(3))), Reason::kQueueFull);
  dispatcher.Cancel(1);
  EXPECT_TRUE(dispatcher.Admit(Ticket(3)).ok()) << "what left makes room";
}

TEST_F(DispatcherTest, BytesAreBoundedToo) {
  Dispatcher::Options options;
  options.max_bytes = 100;
  Dispatcher dispatcher(clock_, options);
  ASSERT_TRUE(dispatcher.Admit(Ticket(1, 20)).ok());
  EXPECT_EQ(GetReason(dispatcher.Admit(Ticket(2, 20))), Reason::kQueueFull);
}

TEST_F(DispatcherTest, WhatIsOutDoesNotCountAsWaiting) {
  Open("w");
  Admit(Ticket(1));
  EXPECT_EQ(dispatcher_.load().calls, 1);
  Send();
  EXPECT_EQ(dispatcher_.load().calls, 0);
  EXPECT_EQ(dispatcher_.load().rows, 0);
  EXPECT_EQ(dispatcher_.load().bytes, 0);
  EXPECT_EQ(dispatcher_.load().running, 1);
  dispatcher_.Complete(1, "w", 3);
  EXPECT_EQ(dispatcher_.load().running, 0);
  EXPECT_EQ(dispatcher_.load().outstanding, 0);
}

TEST_F(DispatcherTest, ADeadlineDropsWhereverTheCallIs) {
  Open("w", 10);
  CallTicket running = Ticket(1), waiting = Ticket(2), patient = Ticket(3);
  running.deadline = waiting.deadline = clock_.Now() + absl::Seconds(1);
  for (const CallTicket& ticket : {running, waiting, patient}) Admit(ticket);
  EXPECT_THAT(Send(), ElementsAre("1@w"));
  EXPECT_THAT(dispatcher_.TakeExpired(), IsEmpty());
  clock_.Advance(absl::Seconds(1));
  const auto expired = dispatcher_.TakeExpired();
  ASSERT_EQ(expired.size(), 2u);
  EXPECT_EQ(expired[0].session, "w") << "its worker is told to stop";
  EXPECT_EQ(expired[1].session, "");
  EXPECT_THAT(Send(), ElementsAre("3@w"));
}

TEST_F(DispatcherTest, CancelFreesCreditsAndTellsWhereItRan) {
  Open("w", 10);
  Admit(Ticket(1));
  Admit(Ticket(2));
  Send();
  EXPECT_EQ(dispatcher_.Cancel(1)->session, "w");
  EXPECT_FALSE(dispatcher_.Cancel(1).has_value());
  EXPECT_THAT(Send(), ElementsAre("2@w"));
  EXPECT_FALSE(dispatcher_.Complete(1, "w", 5)) << "a late answer is void";
}

TEST_F(DispatcherTest, ALostCallGoesToAnotherWorkerOnceAndInFront) {
  Open("w1");
  Admit(Ticket(1));
  Admit(Ticket(2));
  EXPECT_THAT(Send(), ElementsAre("1@w1", "2@w1"));
  Admit(Ticket(3));
  Open("w2", 10);
  EXPECT_THAT(dispatcher_.CloseWorker("w1"), IsEmpty());
  const auto retry = dispatcher_.Next();
  ASSERT_TRUE(retry.has_value());
  EXPECT_EQ(retry->call, 1u);
  EXPECT_EQ(retry->session, "w2");
  EXPECT_EQ(retry->attempt, 2);
  EXPECT_THAT(dispatcher_.CloseWorker("w2"), ElementsAre(1));
  EXPECT_FALSE(dispatcher_.Cancel(1).has_value()) << "forgotten";
  Open("w3");
  EXPECT_THAT(Send(), ElementsAre("2@w3", "3@w3"));
}

TEST_F(DispatcherTest, TheSameWorkerMayAnswerTheRetryAfterItsReconnect) {
  Open("w");
  Admit(Ticket(1));
  Send();
  EXPECT_THAT(dispatcher_.CloseWorker("w"), IsEmpty());
  Open("w");
  EXPECT_THAT(Send(), ElementsAre("1@w"));
}

TEST_F(DispatcherTest, ARetryPrefersAnyOtherWorker) {
  Open("w1");
  Admit(Ticket(1, 10, "a"));
  Send();
  dispatcher_.CloseWorker("w1");
  Open("w1");
  Open("w2", 20);
  Admit(Ticket(2, 10, "b"));
  EXPECT_THAT(Send(), ::testing::Contains("1@w2"));
}

TEST_F(DispatcherTest, AWorkerThatIsGoingGivesItsCallToAnotherAndGetsNoMore) {
  Open("w1");
  Admit(Ticket(1));
  Admit(Ticket(2));
  EXPECT_THAT(Send(), ElementsAre("1@w1", "2@w1"));
  EXPECT_EQ(dispatcher_.GiveBack(1, "w1"), Dispatcher::GivenBack::kWaits);
  EXPECT_EQ(dispatcher_.GiveBack(1, "w1"), Dispatcher::GivenBack::kNotThere) << "once";
  Admit(Ticket(3));
  EXPECT_THAT(Send(), IsEmpty());
  EXPECT_TRUE(dispatcher_.Complete(2, "w1", 5)) << "what it had begun";
  Open("w2");
  EXPECT_THAT(Send(), ElementsAre("1@w2", "3@w2"));
  EXPECT_EQ(dispatcher_.GiveBack(1, "w2"), Dispatcher::GivenBack::kForgotten) << "one retry";
  EXPECT_EQ(dispatcher_.load().calls, 0);
  Open("w1");  // its stream opened again
  Admit(Ticket(4));
  EXPECT_THAT(Send(), ElementsAre("4@w1"));
}

TEST_F(DispatcherTest, ACallThatWasShownInPartIsNotBegunAnew) {
  Open("w1");
  for (uint64_t id : {1, 2, 3}) Admit(Ticket(id));
  EXPECT_THAT(Send(), ElementsAre("1@w1", "2@w1", "3@w1"));
  EXPECT_TRUE(dispatcher_.Show(1, "w1"));
  EXPECT_TRUE(dispatcher_.Show(2, "w1"));
  EXPECT_EQ(dispatcher_.GiveBack(2, "w1"), Dispatcher::GivenBack::kForgotten);
  Open("w2");
  EXPECT_THAT(dispatcher_.CloseWorker("w1"), ElementsAre(1));
  EXPECT_THAT(Send(), ElementsAre("3@w2"));
  EXPECT_EQ(dispatcher_.load().outstanding, 10);
}

TEST_F(DispatcherTest, OnlyTheWorkerThatRunsACallShowsIt) {
  Open("w1");
  Admit(Ticket(1));
  EXPECT_FALSE(dispatcher_.Show(1, "w1")) << "it waits";
  EXPECT_FALSE(dispatcher_.Show(1, "")) << "it waits";
  Send();
  EXPECT_FALSE(dispatcher_.Show(1, "w2"));
  EXPECT_FALSE(dispatcher_.Show(7, "w1"));
  EXPECT_TRUE(dispatcher_.Show(1, "w1"));
  EXPECT_TRUE(dispatcher_.Complete(1, "w1", 5));
  EXPECT_FALSE(dispatcher_.Show(1, "w1"));
}

TEST_F(DispatcherTest, AnswersFromTheWrongWorkerAreVoid) {
  Open("w1");
  Admit(Ticket(1));
  Send();
  Open("w2");
  EXPECT_FALSE(dispatcher_.Complete(1, "w2", 5));
  EXPECT_TRUE(dispatcher_.Complete(1, "w1", 5));
  EXPECT_FALSE(dispatcher_.Complete(1, "w1", 5)) << "once";
}

TEST_F(DispatcherTest, NamesTheCallsWhoseBaseIsHopeless) {
  Open("w", 10);
  Admit(Ticket(1));
  Send();
  Admit(Ticket(2));
  CallTicket other = Ticket(3);
  other.base_digest = "other";
  Admit(other);
  EXPECT_THAT(dispatcher_.Unserved([](const std::string& base) { return base == "other"; }), ElementsAre(3));
  EXPECT_THAT(dispatcher_.Unserved([](const std::string&) { return true; }), ElementsAre(2, 3)) << "not what runs";
  EXPECT_EQ(dispatcher_.AttemptsOf(1), 1);
  EXPECT_EQ(dispatcher_.AttemptsOf(2), 0);
}

TEST_F(DispatcherTest, SettlesByTheWorkersCount) {
  Open("w", 20);
  Admit(Ticket(1, 10, "a"));
  Admit(Ticket(2, 10, "b"));
  EXPECT_THAT(Send(), ElementsAre("1@w", "2@w"));
  Admit(Ticket(3, 10, "a"));
  Admit(Ticket(4, 10, "b"));
  // The estimate was the same, but a's text was far longer in tokens: b is next.
  dispatcher_.Complete(1, "w", 500);
  dispatcher_.Complete(2, "w", 20);
  EXPECT_THAT(Send(), ElementsAre("4@w", "3@w"));
}

TEST_F(DispatcherTest, MixesManyAdaptersEvenlyUnderCredits) {
  Open("w", 320);
  uint64_t id = 0;
  for (int i = 0; i < 100; ++i) Admit(Ticket(++id, 10, "greedy"));
  for (int adapter = 0; adapter < 31; ++adapter) Admit(Ticket(++id, 10, "a" + std::to_string(adapter)));
  int greedy = 0;
  for (const std::string& sent : Send()) greedy += std::stoi(sent) <= 100 ? 1 : 0;
  EXPECT_EQ(greedy, 1) << "a long queue buys one adapter no more of the batch than the others have";
}

}  // namespace
}  // namespace tenon::server
