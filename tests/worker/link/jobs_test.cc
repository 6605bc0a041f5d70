// Assigned jobs: data in, reports and files out, terms and lost servers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "tests/worker/link/link_fixture.h"

namespace tenon::link {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

class JobsTest : public LinkFixture {
 protected:
  static constexpr char kId[] = "finetuneJobs/a#1";

  testing::RecordedRuntime::Training Assign() {
    Connect();
    server_.SendLink(FinetuneAssignment());
    return runtime_.WaitForTraining(kId);
  }
  // The job's end, from a thread that may block, as the runtime's publishing thread.
  void Finish(const testing::RecordedRuntime::Training& training, absl::StatusOr<std::filesystem::path> folder) {
    std::thread([&] { training.callbacks.done(std::move(folder)); }).join();
  }
  pb::ReportJobRequest WaitForFailure() {
    return server_.WaitForReport([](const auto& report) { return report.has_failure(); });
  }
  bool WaitUntilForgotten() { return jobs_->WaitUntilEmpty(absl::Seconds(30)); }
};

TEST_F(JobsTest, GivesTheRuntimeRowsLabelsAndOptions) {
  const auto training = Assign();
  EXPECT_EQ(training.job.name, "finetuneJobs/a");
  EXPECT_EQ(training.job.base_digest, "base");
  EXPECT_EQ(training.job.options.max_steps, 20);
  EXPECT_THAT(training.job.data.labels, ElementsAre("no", "yes"));
  ASSERT_EQ(training.job.data.train.size(), 10u);
  EXPECT_EQ(training.job.data.train[3].text, "row 3");
  EXPECT_THAT(training.job.data.train[3].labels, ElementsAre(1));
  EXPECT_FALSE(training.job.data.multi_label);
  EXPECT_FALSE(training.job.checkpoint.has_value());
}

TEST_F(JobsTest, ReportsProgressMetricsAndTheOutcome) {
  const auto training = Assign();
  training.callbacks.update(engine::TrainEvaluation{.step = 0, .kind = "untrained", .metrics = {{"accuracy", 0.5}}});
  training.callbacks.update(
      engine::TrainEvaluation{.step = 0, .kind = "head_baseline", .metrics = {{"accuracy", 0.7}}});
  for (int64_t step = 1; step <= 20; ++step) {
    training.callbacks.update(
        engine::TrainProgress{.step = step, .total_steps = 20, .loss = 2.0, .learning_rate = 1e-3, .examples = 8});
  }
  training.callbacks.update(
      engine::TrainEvaluation{.step = 20, .kind = "validation", .metrics = {{"accuracy", 0.9}}, .best = true});
  training.callbacks.update(
      engine::TrainDone{.total_steps = 20, .best_step = 20, .trainable_parameters = 123, .trained_tokens = 456});
  Finish(training,
         MakeFolder("export", {{"adapter_model.safetensors", std::string(3 << 20, 'w')}, {"tenon.json", "{}"}}));

  const auto success = server_.WaitForReport([](const auto& report) { return report.has_finetune_success(); });
  const pb::FinetuneOutcome& outcome = success.finetune_success();
  EXPECT_EQ(success.session(), "session-1");
  EXPECT_EQ(success.term(), 1);
  EXPECT_THAT(outcome.labels(), ElementsAre("no", "yes"));
  EXPECT_EQ(outcome.result().best_step(), 20);
  EXPECT_EQ(outcome.result().trainable_parameters(), 123);
  EXPECT_EQ(outcome.result().trained_tokens(), 456);
  EXPECT_EQ(outcome.result().best(0).value(), 0.9);
  EXPECT_EQ(outcome.result().untrained(0).value(), 0.5);
  EXPECT_EQ(outcome.result().head_baseline(0).value(), 0.7);
  ASSERT_EQ(outcome.files_size(), 2);
  EXPECT_EQ(outcome.files(0).path(), "adapter_model.safetensors");
  EXPECT_EQ(server_.published()[outcome.files(0).sha256()], std::string(3 << 20, 'w'));
  EXPECT_TRUE(WaitUntilForgotten());

  int train = 0;
  std::vector<std::string> order;
  for (const auto& report : server_.reports()) {
    train += report.has_metrics() && report.metrics().kind() == "train";
    if (report.has_metrics() && report.metrics().kind() != "train") order.push_back(report.metrics().kind());
    if (report.has_finetune_success()) order.push_back("success");
  }
  EXPECT_EQ(train, 20) << "short runs have every step in their history";
  EXPECT_THAT(order, ElementsAre("untrained", "head_baseline", "validation", "success"));
}

TEST_F(JobsTest, NoticesReachTheJobsHistory) {
  const auto training = Assign();
  training.callbacks.notice("The checkpoint was made on another machine.");
  const auto report = server_.WaitForReport([](const auto& report) { return report.has_notice(); });
  EXPECT_EQ(report.job(), "finetuneJobs/a");
  EXPECT_EQ(report.notice().message(), "The checkpoint was made on another machine.");
  EXPECT_EQ(report.notice().severity(), v1::JobEvent::Notice::SEVERITY_WARNING);
}

TEST_F(JobsTest, PublishesCheckpointsFilesFirst) {
  const auto training = Assign();
  std::atomic<bool> published_before = false;
  server_.OnReport([&](const pb::ReportJobRequest& report) {
    if (report.has_checkpoint()) published_before = server_.published().size() == 3;
    return absl::OkStatus();
  });
  EXPECT_TRUE(training.callbacks.checkpoint(8, MakeFolder("c", {{"state", "s"}, {"adapter", "a"}})).ok());
  const auto report = server_.WaitForReport([](const auto& report) { return report.has_checkpoint(); });
  EXPECT_EQ(report.checkpoint().step(), 8);
  std::vector<std::string> names;
  for (const auto& file : report.checkpoint().files()) names.push_back(file.path());
  EXPECT_THAT(names, UnorderedElementsAre("adapter", "run.json", "state"));
  EXPECT_TRUE(published_before);
}

TEST_F(JobsTest, GoesOnFromACheckpointWithWhatWasMeasured) {
  Connect();
  pb::LinkResponse message = FinetuneAssignment();
  pb::Checkpoint& resume = *message.mutable_assign()->mutable_finetune()->mutable_resume();
  resume.set_step(8);
  *resume.mutable_files() = server_.AddFiles(
      {{"state", "s"}, {"run.json", R"({"untrained": {"accuracy": 0.5}, "best": {"accuracy": 0.8}, "seconds": 100})"}});
  server_.SendLink(message);
  const auto training = runtime_.WaitForTraining(kId);
  ASSERT_TRUE(training.job.checkpoint.has_value());
  const std::filesystem::path folder = *training.job.checkpoint;
  EXPECT_EQ(ReadAll(folder / "state"), "s");
  EXPECT_FALSE(std::filesystem::exists(folder / "run.json")) << "that file is not the trainer's";
  training.callbacks.update(engine::TrainDone{.total_steps = 20});
  Finish(training, MakeFolder("export", {{"tenon.json", "{}"}}));
  const auto success = server_.WaitForReport([](const auto& report) { return report.has_finetune_success(); });
  EXPECT_EQ(success.finetune_success().result().untrained(0).value(), 0.5);
  EXPECT_EQ(success.finetune_success().result().best(0).value(), 0.8);
  EXPECT_GE(success.finetune_success().result().train_seconds(), 100);
  EXPECT_TRUE(WaitUntilForgotten());
  EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(JobsTest, FailuresKeepTheirReasonAndField) {
  const auto training = Assign();
  Finish(training, TenonError(Reason::kLossNotFinite, "step 3: the loss is NaN", "step 3"));
  const auto failure = WaitForFailure();
  EXPECT_EQ(failure.failure().reason(), "LOSS_NOT_FINITE");
  EXPECT_EQ(failure.failure().field(), "step 3");
  EXPECT_TRUE(WaitUntilForgotten());
}

TEST_F(JobsTest, DataThatIsNotThereFailsTheJob) {
  Connect();
  pb::LinkResponse message = FinetuneAssignment();
  message.mutable_assign()->mutable_finetune()->mutable_train()->set_sha256(Sha256Hex("gone"));
  server_.OnReport([](const auto&) { return absl::OkStatus(); });
  server_.SendLink(message);
  EXPECT_EQ(WaitForFailure().failure().reason(), "NOT_FOUND");
}

TEST_F(JobsTest, AnOptionOutOfRangeFailsTheJob) {
  Connect();
  pb::LinkResponse message = FinetuneAssignment();
  message.mutable_assign()->mutable_finetune()->mutable_spec()->mutable_lora()->set_r(0);
  server_.SendLink(message);
  EXPECT_EQ(WaitForFailure().failure().field(), "r");
}

TEST_F(JobsTest, CancelStopsTheJobAndSaysSo) {
  Assign();
  pb::LinkResponse cancel;
  cancel.mutable_cancel()->set_job("finetuneJobs/a");
  cancel.mutable_cancel()->set_term(7);
  server_.SendLink(cancel);  // another term's
  cancel.mutable_cancel()->set_term(1);
  server_.SendLink(cancel);
  const auto stopped = server_.WaitForReport([](const auto& report) { return report.has_stopped(); });
  EXPECT_EQ(stopped.term(), 1);
  EXPECT_TRUE(WaitUntilForgotten());
  EXPECT_TRUE(server_.published().empty());
}

TEST_F(JobsTest, ReportsWaitForALostServer) {
  const auto training = Assign();
  server_.Shutdown();
  std::thread finish([&] {
    EXPECT_TRUE(training.callbacks.checkpoint(8, MakeFolder("c", {{"state", "s"}})).ok());
    training.callbacks.update(engine::TrainDone{.total_steps = 20});
    training.callbacks.done(MakeFolder("export", {{"tenon.json", "{}"}}));
  });
  server_.Restart();
  finish.join();
  ASSERT_TRUE(server_.WaitForHellos(2));
  std::vector<std::string> kinds;
  for (const auto& report : server_.reports()) {
    if (report.has_checkpoint()) kinds.push_back("checkpoint");
    if (report.has_finetune_success()) kinds.push_back("success");
  }
  EXPECT_THAT(kinds, ElementsAre("checkpoint", "success"));
}

TEST_F(JobsTest, AStaleTermEndsTheJobWithoutAnotherWord) {
  const auto training = Assign();
  server_.OnReport([](const pb::ReportJobRequest& report) {
    return report.has_metrics() ? TenonError(Reason::kStaleTerm, "term 2 runs") : absl::OkStatus();
  });
  training.callbacks.update(engine::TrainEvaluation{.step = 0, .kind = "untrained"});
  EXPECT_TRUE(runtime_.WaitForNoTraining());
  EXPECT_TRUE(WaitUntilForgotten());
  for (const auto& report : server_.reports()) EXPECT_TRUE(report.has_progress());
}

TEST_F(JobsTest, AStaleTermFoundWhilePublishingEndsTheJob) {
  const auto training = Assign();
  server_.OnPublish([](const auto&) { return TenonError(Reason::kStaleTerm, "term 2 runs"); });
  const absl::Status status = training.callbacks.checkpoint(8, MakeFolder("c", {{"state", "s"}}));
  EXPECT_EQ(GetReason(status), Reason::kStaleTerm);
  Finish(training, status);
  EXPECT_TRUE(WaitUntilForgotten());
}

TEST_F(JobsTest, AJobThatTheServerGaveAwayIsDroppedAtTheWelcome) {
  Assign();
  pb::JobHold hold;
  hold.set_job("finetuneJobs/a");
  hold.set_term(1);
  server_.DropAtWelcome(hold);
  server_.CloseLink();
  ASSERT_TRUE(server_.WaitForHellos(2));
  EXPECT_TRUE(runtime_.WaitForNoTraining());
  EXPECT_TRUE(WaitUntilForgotten());
  for (const auto& report : server_.reports()) EXPECT_FALSE(report.has_stopped());
}

TEST_F(JobsTest, AJobComesBackUnderANewTermWhileTheOldOneEnds) {
  Assign();
  server_.SendLink(FinetuneAssignment(2));
  const auto second = runtime_.WaitForTraining("finetuneJobs/a#2");
  EXPECT_EQ(second.job.name, "finetuneJobs/a");
  jobs_->Drop("finetuneJobs/a", 1);
  Finish(second, MakeFolder("export", {{"tenon.json", "{}"}}));
  EXPECT_EQ(server_.WaitForReport([](const auto& report) { return report.has_finetune_success(); }).term(), 2);
}

TEST_F(JobsTest, AnOutcomeThatTheServerRefusesIsAFailure) {
  const auto training = Assign();
  server_.OnReport([](const pb::ReportJobRequest& report) {
    return report.has_finetune_success() ? TenonError(Reason::kAdapterInvalid, "not finite") : absl::OkStatus();
  });
  Finish(training, MakeFolder("export", {{"tenon.json", "{}"}}));
  EXPECT_EQ(WaitForFailure().failure().reason(), "ADAPTER_INVALID");
}

TEST_F(JobsTest, DataIsAskedForAgainWhereTheServerIsBusy) {
  server_.RefuseFetch(TenonError(Reason::kQueueFull, "busy"));
  EXPECT_EQ(Assign().job.data.train.size(), 10u);
  EXPECT_EQ(server_.fetches(), 2);
}

TEST_F(JobsTest, ACheckpointWaitsForRoomOnTheServer) {
  const auto training = Assign();
  std::atomic<int> publishes = 0, reports = 0;
  server_.OnPublish([&](const auto&) {
    return ++publishes <= 2 ? TenonError(Reason::kDiskFull, "the server's disk is full") : absl::OkStatus();
  });
  server_.OnReport([&](const pb::ReportJobRequest& report) {
    return report.has_checkpoint() && ++reports <= 2 ? TenonError(Reason::kQueueFull, "busy") : absl::OkStatus();
  });
  const absl::Status status = training.callbacks.checkpoint(8, MakeFolder("c", {{"state", "s"}}));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(reports, 3);
}

TEST_F(JobsTest, AFailureIsSaidUntilTheServerHasRoomForIt) {
  const auto training = Assign();
  std::atomic<int> refusals = 0;
  server_.OnReport([&](const pb::ReportJobRequest& report) {
    return report.has_failure() && ++refusals <= 2 ? TenonError(Reason::kDiskFull, "full") : absl::OkStatus();
  });
  Finish(training, TenonError(Reason::kLossNotFinite, "step 3: the loss is NaN"));
  EXPECT_TRUE(WaitForFailure().has_failure());
  EXPECT_EQ(refusals, 3);
}

TEST_F(JobsTest, AFileThatTheServerMissesIsNoNewTerm) {
  const auto training = Assign();
  server_.OnReport([](const pb::ReportJobRequest& report) {
    return report.has_checkpoint() ? TenonError(Reason::kNotFound, "file state was not published") : absl::OkStatus();
  });
  const absl::Status status = training.callbacks.checkpoint(8, MakeFolder("c", {{"state", "s"}}));
  EXPECT_EQ(GetReason(status), Reason::kNotFound);
  Finish(training, status);
  EXPECT_EQ(WaitForFailure().failure().reason(), "NOT_FOUND") << "the job ends with a word";
}

TEST_F(JobsTest, ACancelledJobDoesNotWaitForRoom) {
  const auto training = Assign();
  absl::Notification refused;
  server_.OnPublish([&](const auto&) {
    if (!refused.HasBeenNotified()) refused.Notify();
    return TenonError(Reason::kDiskFull, "the server's disk is full");
  });
  absl::Status status;
  std::thread checkpoint([&] { status = training.callbacks.checkpoint(8, MakeFolder("c", {{"state", "s"}})); });
  refused.WaitForNotification();
  jobs_->Cancel("finetuneJobs/a", 1);
  checkpoint.join();
  EXPECT_EQ(GetReason(status), Reason::kCancelled);
  EXPECT_TRUE(server_.WaitForReport([](const auto& report) { return report.has_stopped(); }).has_stopped());
}

TEST_F(JobsTest, EvaluatesAdaptersInOrder) {
  Connect();
  pb::LinkResponse message;
  pb::JobAssignment& assign = *message.mutable_assign();
  assign.set_job("evalJobs/e");
  assign.set_term(3);
  assign.set_base_digest("base");
  for (const std::string name : {"one", "two"}) {
    pb::AdapterRef& adapter = *assign.mutable_eval()->add_adapters();
    adapter.set_digest(Sha256Hex(name));
    *adapter.mutable_files() = server_.AddFiles({{"tenon.json", name}});
  }
  assign.mutable_eval()->mutable_dataset()->set_sha256(server_.AddBlob("text\tlabel\nhello there\tyes\n"));
  assign.mutable_eval()->mutable_dataset()->set_format(v1::DATASET_FORMAT_TSV);
  assign.mutable_eval()->set_max_input_tokens(32);
  server_.SendLink(message);
  const auto evaluation = runtime_.WaitForEvaluation("evalJobs/e#3");
  EXPECT_THAT(evaluation.job.adapter_digests, ElementsAre(Sha256Hex("one"), Sha256Hex("two")));
  EXPECT_EQ(evaluation.job.rows[0].text, "hello there");
  EXPECT_THAT(evaluation.job.row_labels[0], ElementsAre("yes"));
  EXPECT_EQ(evaluation.job.max_input_tokens, 32);
  EXPECT_TRUE(adapters_->Fetch(Sha256Hex("two")).ok());

  formats::TenonConfig config;
  config.labels = {"no", "yes"};
  engine::ClassificationScores scores;
  scores.accuracy = 0.5;
  scores.macro_f1 = 0.25;
  scores.classes.resize(2);
  scores.classes[1].support = 9;
  scores.confusion = {1, 2, 3, 4};
  scores.rows = 10;
  evaluation.callbacks.progress(10, 20);
  std::thread([&] { evaluation.callbacks.done({{{config, scores}, {config, scores}}}); }).join();
  const auto report = server_.WaitForReport([](const auto& report) { return report.has_eval_success(); });
  ASSERT_EQ(report.eval_success().results_size(), 2);
  const v1::EvalResult& result = report.eval_success().results(1);
  EXPECT_EQ(result.model().revision(), Sha256Hex("two"));
  EXPECT_EQ(result.metrics(0).name(), "accuracy");
  EXPECT_EQ(result.metrics(0).value(), 0.5);
  EXPECT_EQ(result.classes(1).label(), "yes");
  EXPECT_EQ(result.classes(1).support(), 9);
  EXPECT_THAT(result.confusion_matrix(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(result.examples(), 10);
}

TEST_F(JobsTest, GivesTheRuntimePairsAndPublishesTheTemplate) {
  Connect();
  pb::LinkResponse message = FinetuneAssignment();
  pb::FinetuneWork& work = *message.mutable_assign()->mutable_finetune();
  work.mutable_spec()->set_task(v1::TASK_SEQ2SEQ);
  work.mutable_spec()->mutable_text_template()->set_input("class of {text}");
  work.mutable_spec()->mutable_text_template()->set_target("{label}");
  // Read as records because the reference says so, and by the columns when it does not.
  *work.mutable_validation() = work.train();
  work.mutable_train()->set_kind(v1::DATASET_KIND_RECORDS);
  server_.SendLink(message);
  const auto training = runtime_.WaitForTraining(kId);
  ASSERT_EQ(training.job.data.train_pairs.size(), 10u);
  EXPECT_EQ(training.job.data.train_pairs[3].input, "class of row 3");
  EXPECT_EQ(training.job.data.train_pairs[3].target, "yes");
  EXPECT_EQ(training.job.data.validation_pairs.size(), 10u);
  EXPECT_TRUE(training.job.data.train.empty());
  EXPECT_TRUE(training.job.data.labels.empty());

  formats::TenonConfig config{.task = "seq2seq", .method = "lora"};
  Finish(training, MakeFolder("export", {{"tenon.json", formats::WriteTenonConfig(config, true)}}));
  const auto success = server_.WaitForReport([](const auto& report) { return report.has_finetune_success(); });
  EXPECT_EQ(success.finetune_success().labels_size(), 0);
  const auto published = formats::ParseTenonConfig(server_.published()[success.finetune_success().files(0).sha256()]);
  ASSERT_TRUE(published.ok()) << published.status();
  EXPECT_EQ(published->text_template, (formats::TextTemplate{"class of {text}", "{label}"}));
}

TEST_F(JobsTest, GivesTheRuntimeTextsToScoreSentencesOf) {
  Connect();
  pb::LinkResponse message = FinetuneAssignment();
  pb::FinetuneWork& work = *message.mutable_assign()->mutable_finetune();
  v1::FinetuneJob& spec = *work.mutable_spec();
  spec.set_task(v1::TASK_EXTRACTIVE_SUMMARIZATION);
  spec.mutable_text_template()->set_input("All of {text}.");
  spec.mutable_text_template()->set_target("{label}");
  spec.mutable_sentence_scorer()->set_neighbours(2);
  spec.mutable_training()->clear_max_steps();
  spec.mutable_training()->set_epochs(1);
  spec.mutable_training()->set_batch_size(1);
  spec.mutable_training()->set_warmup_ratio(0.1);
  *work.mutable_validation() = work.train();
  server_.SendLink(message);
  const auto training = runtime_.WaitForTraining(kId);
  ASSERT_TRUE(training.job.scorer.has_value());
  EXPECT_EQ(training.job.scorer->scorer.neighbours, 2);
  ASSERT_EQ(training.job.scorer->train.size(), 10u);
  EXPECT_EQ(training.job.scorer->train[3].input, "All of row 3.");
  EXPECT_EQ(training.job.scorer->train[3].target, "yes");
  EXPECT_EQ(training.job.scorer->validation.size(), 10u);
  EXPECT_TRUE(training.job.data.train.empty() && training.job.data.train_pairs.empty());
  EXPECT_EQ(training.job.options.lora.task_type, "SEQ_CLS");
  // What the number of steps decides comes with the number of sentences.
  const auto options = training.job.options_for(500);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->warmup_steps, 50);
  EXPECT_EQ(options->eval_steps, 50);

  formats::TenonConfig config{.task = "sequence_classification", .method = "lora", .labels = engine::ScorerLabels()};
  config.sentence_scorer.emplace();
  const std::string exported = formats::WriteTenonConfig(config, true);
  Finish(training, MakeFolder("export", {{"tenon.json", exported}}));
  const auto success = server_.WaitForReport([](const auto& report) { return report.has_finetune_success(); });
  EXPECT_THAT(success.finetune_success().labels(), ElementsAre("other", "extract"));
  EXPECT_EQ(server_.published()[success.finetune_success().files(0).sha256()], exported) << "without a template";
}

TEST_F(JobsTest, ATemplateThatTheRowsDoNotFillFailsTheJob) {
  Connect();
  pb::LinkResponse message = FinetuneAssignment();
  v1::FinetuneJob& spec = *message.mutable_assign()->mutable_finetune()->mutable_spec();
  spec.set_task(v1::TASK_SEQ2SEQ);
  spec.mutable_text_template()->set_input("{dialogue}");
  spec.mutable_text_template()->set_target("{label}");
  server_.SendLink(message);
  const auto failure = WaitForFailure().failure();
  EXPECT_EQ(failure.reason(), "DATASET_INVALID");
  EXPECT_EQ(failure.field(), "row 1");
}

TEST_F(JobsTest, EvaluatesWrittenTextsOfABaseAndItsAdapters) {
  Connect();
  pb::LinkResponse message;
  pb::JobAssignment& assign = *message.mutable_assign();
  assign.set_job("evalJobs/s");
  assign.set_term(2);
  assign.set_base_digest("base");
  pb::EvalWork& work = *assign.mutable_eval();
  work.add_adapters();
  pb::AdapterRef& adapter = *work.add_adapters();
  adapter.set_digest(Sha256Hex("one"));
  *adapter.mutable_files() = server_.AddFiles({{"tenon.json", "one"}});
  work.mutable_dataset()->set_sha256(server_.AddBlob("q\ta\n1\t2\n3\t4\n"));
  work.mutable_dataset()->set_format(v1::DATASET_FORMAT_TSV);
  work.mutable_dataset()->set_kind(v1::DATASET_KIND_RECORDS);
  work.mutable_seq2seq()->add_labels("2");
  work.mutable_seq2seq()->add_labels("4");
  server_.SendLink(message);
  const auto evaluation = runtime_.WaitForSeq2SeqEvaluation("evalJobs/s#2");
  EXPECT_EQ(evaluation.job.base_digest, "base");
  EXPECT_THAT(evaluation.job.adapter_digests, ElementsAre("", Sha256Hex("one")));
  ASSERT_EQ(evaluation.job.rows.size(), 2u);
  EXPECT_EQ(evaluation.job.rows[1].at("a"), "4");
  EXPECT_TRUE(adapters_->Fetch(Sha256Hex("one")).ok());

  engine::Seq2SeqScores scores;
  scores.metrics = {{"exact_match", 0.5}};
  scores.intervals = {{"exact_match", 0.0, 1.0}};
  scores.classes.resize(2);
  scores.examples = 2;
  evaluation.callbacks.progress(1, 4);
  std::thread([&] { evaluation.callbacks.done({{scores, scores}}); }).join();
  const auto report = server_.WaitForReport([](const auto& report) { return report.has_eval_success(); });
  ASSERT_EQ(report.eval_success().results_size(), 2);
  EXPECT_EQ(report.eval_success().results(0).model().revision(), "");
  const v1::EvalResult& result = report.eval_success().results(1);
  EXPECT_EQ(result.model().revision(), Sha256Hex("one"));
  EXPECT_EQ(result.intervals(0).high(), 1.0);
  EXPECT_EQ(result.classes(1).label(), "4");
}

}  // namespace
}  // namespace tenon::link
