// The Link and Work streams against a scripted server.
#include "worker/link/link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/worker/link/link_fixture.h"

namespace tenon::link {
namespace {

using ::testing::ElementsAre;
using LinkTest = LinkFixture;

pb::WorkResponse Request(uint64_t id, const std::string& text) {
  pb::WorkResponse message;
  pb::InferenceRequest& request = *message.mutable_request();
  request.set_call_id(id);
  request.set_base_digest("base");
  request.set_kind(pb::INFERENCE_KIND_EMBED);
  request.add_texts(text);
  request.set_charge(1);
  return message;
}

runtime::InferenceReply Reply(float value) {
  runtime::InferenceReply reply;
  reply.rows = {{{value}, 3, false}};
  return reply;
}

TEST_F(LinkTest, SaysWhoItIsAndKeepsBeating) {
  Connect();
  const pb::Hello hello = server_.hellos()[0];
  EXPECT_EQ(hello.worker_id(), "w1");
  EXPECT_EQ(hello.session(), "session-1");
  EXPECT_EQ(hello.device(), "cpu");
  EXPECT_EQ(hello.memory_bytes(), 5);
  EXPECT_EQ(server_.credits(), 99);
  for (int i = 0; i < 3; ++i) {
    const pb::LinkRequest beat = server_.TakeLink();
    ASSERT_TRUE(beat.has_heartbeat());
    EXPECT_EQ(beat.heartbeat().adapters_resident(), 3);
    EXPECT_EQ(beat.heartbeat().memory_bytes_used(), 77);
  }
  EXPECT_TRUE(link_->connected());
}

TEST_F(LinkTest, FetchesAndLoadsABase) {
  Connect();
  const std::string digest = Sha256Hex("base");
  pb::LinkResponse message;
  message.mutable_load_base()->set_digest(digest);
  message.mutable_load_base()->set_name("bases/tiny");
  *message.mutable_load_base()->mutable_files() =
      server_.AddFiles({{"config.json", "{}"}, {"1_Pooling_config.json", std::string(100'000, 'p')}});
  server_.SendLink(message);
  pb::LinkRequest answer;
  while (!answer.has_base_loaded()) answer = server_.TakeLink();
  EXPECT_EQ(answer.base_loaded().digest(), digest);
  EXPECT_FALSE(answer.base_loaded().has_error());
  EXPECT_EQ(ReadAll(runtime_.Folder(digest) / "1_Pooling_config.json"), std::string(100'000, 'p'));
}

TEST_F(LinkTest, UnloadsABaseAndSaysWhenItsMemoryIsFree) {
  Connect();
  const std::string digest = Sha256Hex("base");
  pb::LinkResponse load, unload;
  load.mutable_load_base()->set_digest(digest);
  *load.mutable_load_base()->mutable_files() = server_.AddFiles({{"config.json", "{}"}});
  unload.mutable_unload_base()->set_digest(digest);
  const auto wait_until_held = [&](bool held) {
    bool is_held = !held;
    while (is_held != held) {
      const pb::LinkRequest beat = server_.TakeLink();
      ASSERT_NE(beat.message_case(), pb::LinkRequest::MESSAGE_NOT_SET) << "no word of it";
      if (beat.has_heartbeat()) is_held = !beat.heartbeat().base_digests().empty();
    }
  };
  runtime_.UseBases(true);
  server_.SendLink(load);
  wait_until_held(true);
  server_.SendLink(unload);
  while (runtime_.unloading_bases().empty()) std::this_thread::yield();
  EXPECT_THAT(runtime_.bases(), ::testing::IsEmpty());
  wait_until_held(true);
  server_.CloseLink();
  ASSERT_TRUE(server_.WaitForHellos(2));
  EXPECT_THAT(server_.hellos()[1].base_digests(), ::testing::IsEmpty());
  EXPECT_THAT(server_.hellos()[1].unloading_digests(), ElementsAre(digest));
  runtime_.UseBases(false);
  wait_until_held(false);
  server_.SendLink(load);
  wait_until_held(true);
  EXPECT_THAT(runtime_.bases(), ElementsAre(digest));
}

TEST_F(LinkTest, ABaseThatCannotBeLoadedIsSaidWithItsReason) {
  Connect();
  const auto load = [&](const std::string& name, const std::string& bytes, bool corrupt) {
    pb::LinkResponse message;
    message.mutable_load_base()->set_digest(Sha256Hex(name));
    *message.mutable_load_base()->mutable_files() = server_.AddFiles({{"config.json", bytes}});
    if (corrupt) server_.Corrupt(Sha256Hex(bytes), bytes + "x");
    server_.SendLink(message);
    pb::LinkRequest answer;
    while (!answer.has_base_loaded()) answer = server_.TakeLink();
    return answer.base_loaded().error().reason();
  };
  EXPECT_EQ(load("a", "{\"a\":1}", true), "DIGEST_MISMATCH");
  runtime_.FailLoads(TenonError(Reason::kBaseInvalid, "no tensors"));
  EXPECT_EQ(load("b", "{\"b\":1}", false), "BASE_INVALID");
}

TEST_F(LinkTest, AnswersInferenceAsItFinishes) {
  Connect();
  server_.SendWork(Request(11, "one"));
  server_.SendWork(Request(12, "two"));
  auto first = runtime_.TakeCall();
  auto second = runtime_.TakeCall();
  EXPECT_THAT(first.in.texts, ElementsAre("one"));
  second.done(Reply(2));
  const auto result = server_.TakeResult();
  EXPECT_EQ(result.call_id(), 12u);
  EXPECT_THAT(result.rows(0).values(), ElementsAre(2));
  first.done(TenonError(Reason::kNoClassifier, "no head"));
  EXPECT_EQ(server_.TakeResult().error().reason(), "NO_CLASSIFIER");
}

TEST_F(LinkTest, KnowsTheFilesOfARequestsAdapter) {
  Connect();
  pb::WorkResponse message = Request(11, "one");
  pb::AdapterRef& adapter = *message.mutable_request()->mutable_adapter();
  adapter.set_digest(Sha256Hex("adapter"));
  *adapter.mutable_files() = server_.AddFiles({{"tenon.json", "{}"}});
  server_.SendWork(message);
  EXPECT_EQ(runtime_.TakeCall().in.adapter_digest, adapter.digest());
  const auto folder = adapters_->Fetch(adapter.digest());
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_EQ(ReadAll(*folder / "tenon.json"), "{}");
  EXPECT_FALSE(adapters_->Fetch(Sha256Hex("unknown")).ok());
}

TEST_F(LinkTest, ACancelledRequestIsDroppedAndNotAnswered) {
  Connect();
  server_.SendWork(Request(11, "one"));
  auto call = runtime_.TakeCall();
  pb::WorkResponse cancel;
  cancel.mutable_cancel()->set_call_id(11);
  server_.SendWork(cancel);
  EXPECT_TRUE(runtime_.WaitForCancelled(call.id));
  call.done(Reply(1));  // it was computed already
  server_.SendWork(Request(12, "two"));
  runtime_.TakeCall().done(Reply(2));
  EXPECT_EQ(server_.TakeResult().call_id(), 12u);
}

TEST_F(LinkTest, ComesBackUnderTheSameSessionWithWhatItHolds) {
  Connect();
  const std::string digest = Sha256Hex("base");
  pb::LinkResponse load;
  load.mutable_load_base()->set_digest(digest);
  *load.mutable_load_base()->mutable_files() = server_.AddFiles({{"config.json", "{}"}});
  server_.SendLink(load);
  server_.SendLink(FinetuneAssignment(4));
  runtime_.WaitForTraining("finetuneJobs/a#4");
  server_.CloseLink();
  ASSERT_TRUE(server_.WaitForHellos(2));
  const pb::Hello hello = server_.hellos()[1];
  EXPECT_EQ(hello.session(), "session-1");
  ASSERT_EQ(hello.jobs_size(), 1);
  EXPECT_EQ(hello.jobs(0).job(), "finetuneJobs/a");
  EXPECT_EQ(hello.jobs(0).term(), 4);
  EXPECT_THAT(hello.base_digests(), ElementsAre(digest));
  ASSERT_TRUE(server_.WaitForWork(true));
  server_.SendWork(Request(12, "two"));
  runtime_.TakeCall().done(Reply(2));
  EXPECT_EQ(server_.TakeResult().call_id(), 12u);
}

TEST_F(LinkTest, InferenceInFlightIsDroppedWithTheServer) {
  Connect();
  server_.SendWork(Request(11, "one"));
  auto call = runtime_.TakeCall();
  server_.Shutdown();
  EXPECT_TRUE(runtime_.WaitForCancelled(call.id));
  call.done(Reply(1));
  server_.Restart();
  ASSERT_TRUE(server_.WaitForHellos(2));
  ASSERT_TRUE(server_.WaitForWork(true));
  server_.SendWork(Request(12, "two"));
  runtime_.TakeCall().done(Reply(2));
  EXPECT_EQ(server_.TakeResult().call_id(), 12u);
}

TEST_F(LinkTest, StartsBeforeItsServerDoes) {
  server_.Shutdown();
  link_->Start();
  server_.Restart();
  EXPECT_TRUE(server_.WaitForHellos(1));
}

TEST_F(LinkTest, StopsThoughTheServerReadsNothing) {
  // Heartbeats that name them fill every buffer on the way.
  for (int i = 0; i < 40'000; ++i) ASSERT_TRUE(runtime_.LoadBase(Sha256Hex(absl::StrCat(i)), "/nowhere").ok());
  server_.ReadNoLink();
  link_->Start();
  ASSERT_TRUE(server_.WaitForHellos(1));
  int beats = 0;  // one in 100 ms, until one is stuck in its write
  while (runtime_.WaitForLooks(beats + 1, absl::Seconds(1))) ASSERT_LT(++beats, 200);
  pb::LinkResponse load;
  load.mutable_load_base()->set_digest(Sha256Hex("base"));  // without files: none could be asked for
  server_.SendLink(load);
  while (runtime_.Folder(Sha256Hex("base")).empty()) std::this_thread::yield();
  absl::Notification stopped;
  std::thread stop([&] {
    link_->Drain(absl::ZeroDuration());
    link_->Stop();
    stopped.Notify();
  });
  EXPECT_TRUE(stopped.WaitForNotificationWithTimeout(absl::Seconds(20))) << "the answer to the load is in the way";
  server_.CloseLink();
  stop.join();
}

TEST_F(LinkTest, DrainFinishesWhatIsHereAndRefusesMore) {
  Connect();
  server_.SendWork(Request(11, "one"));
  auto call = runtime_.TakeCall();
  server_.SendLink(FinetuneAssignment());
  runtime_.WaitForTraining("finetuneJobs/a#1");
  std::thread drain([&] { link_->Drain(absl::Seconds(30)); });
  const auto stopped = server_.WaitForReport([](const auto& report) { return report.has_stopped(); });
  EXPECT_EQ(stopped.job(), "finetuneJobs/a");
  server_.SendWork(Request(12, "too late"));
  const auto refused = server_.TakeResult();
  EXPECT_EQ(refused.call_id(), 12u);
  EXPECT_EQ(refused.error().reason(), "SHUTTING_DOWN");
  call.done(Reply(1));
  EXPECT_EQ(server_.TakeResult().call_id(), 11u);
  drain.join();
  link_->Stop();
  EXPECT_TRUE(server_.WaitForWork(false));
  EXPECT_EQ(server_.hellos().size(), 1u);
}

}  // namespace
}  // namespace tenon::link
