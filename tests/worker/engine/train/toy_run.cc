#include "tests/worker/engine/train/toy_run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <random>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "tests/worker/engine/tiny_base.h"
#include "tests/worker/engine/tiny_t5.h"

namespace tenon::testing {

std::filesystem::path FreshFolder(const std::string& name) {
  static std::atomic<int> count = 0;
  std::filesystem::path folder(::testing::TempDir());
  folder /= absl::StrCat("tenon_train_", ::testing::UnitTest::GetInstance()->random_seed(), "_", getpid(), "_", name,
                         count++);
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

std::shared_ptr<const engine::Base> LoadToy(const std::filesystem::path& folder) {
  auto base = engine::Base::Load(folder, {.digest = std::string(64, 'b')});
  EXPECT_TRUE(base.ok()) << base.status();
  return base.ok() ? *base : nullptr;
}

std::shared_ptr<const engine::Base> MakeToyBase(double dropout) {
  // Products this small only lose time to a second thread.
  static const bool once = (engine::SetThreads(1), true);
  EXPECT_TRUE(once);
  const std::filesystem::path folder = FreshFolder("base");
  TinyBase tiny;
  tiny.dropout = dropout;
  tiny.layers = 3;
  WriteTinyBase(folder, tiny);
  return LoadToy(folder);
}

std::vector<engine::LabelledText> ToyRows(int64_t rows, uint64_t seed, int64_t labels) {
  // Words far apart in the vocabulary; TinyText may draw them too, which makes the task a little noisy only for the
  // others.
  static const char* const kDeciders[] = {"great", "awful", "planet"};
  std::vector<engine::LabelledText> result;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t label = i % labels;
    const std::string text = TinyText(seed * 1000 + static_cast<uint64_t>(i), 2 + i % 10);
    result.push_back({absl::StrCat(kDeciders[label], " ", text), {label}});
  }
  return result;
}

engine::TrainData ToyData(int64_t train_rows, int64_t validation_rows, int64_t labels) {
  engine::TrainData data;
  data.train = ToyRows(train_rows, 1, labels);
  data.validation = ToyRows(validation_rows, 2, labels);
  for (int64_t i = 0; i < labels; ++i) data.labels.push_back(absl::StrCat("label-", i));
  return data;
}

engine::TrainOptions ToyOptions() {
  engine::TrainOptions options;
  options.lora.r = 4;
  options.lora.alpha = 8;
  options.lora.dropout = 0.1;
  options.lora.target_modules = {"query", "value"};
  options.learning_rate = 5e-3;
  options.batch_size = 8;
  options.max_steps = 12;
  options.save_steps = 4;
  options.eval_steps = 4;
  options.seed = 42;
  options.head_baseline = false;
  return options;
}

std::shared_ptr<const engine::Base> MakeToyT5(bool flan) {
  engine::SetThreads(1);
  const std::filesystem::path folder = FreshFolder("t5");
  TinyT5 tiny;
  tiny.flan = flan;
  WriteTinyT5(folder, tiny);
  return LoadToy(folder);
}

engine::TrainData ToyPairs(int64_t train_rows, int64_t validation_rows) {
  const auto rows = [](int64_t count, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<engine::TextPair> pairs;
    for (int64_t i = 0; i < count; ++i) {
      std::string input(1, i % 2 == 0 ? 'q' : 'z');
      for (int64_t k = 0; k < 2 + i % 9; ++k) input += static_cast<char>('a' + random() % 10);
      pairs.push_back({input, i % 2 == 0 ? "up" : "down"});
    }
    return pairs;
  };
  engine::TrainData data;
  data.train_pairs = rows(train_rows, 1);
  data.validation_pairs = rows(validation_rows, 2);
  return data;
}

engine::TrainOptions ToyT5Options() {
  engine::TrainOptions options = ToyOptions();
  options.lora.target_modules = {"q", "v"};
  return options;
}

engine::TrainOptions ForFull(engine::TrainOptions options) {
  options.method = engine::Method::kFull;
  options.learning_rate = 1e-3;
  return options;
}

std::vector<engine::TrainEvaluation> ToyRun::Kind(const std::string& kind) const {
  std::vector<engine::TrainEvaluation> found;
  for (const auto& evaluation : evaluations) {
    if (evaluation.kind == kind) found.push_back(evaluation);
  }
  return found;
}

ToyRun RunToy(std::shared_ptr<const engine::Base> base, const engine::TrainOptions& options, engine::TrainData data,
              const std::optional<std::filesystem::path>& checkpoint, const std::function<void()>& between) {
  ToyRun run;
  auto trainer = engine::Trainer::Create(std::move(base), options, std::move(data), checkpoint, std::nullopt);
  run.status = trainer.status();
  while (run.status.ok() && !run.done.has_value()) {
    if (between) between();
    const auto update = (*trainer)->RunSlice();
    run.status = update.status();
    if (!update.ok() || !update->has_value()) continue;
    if (const auto* progress = std::get_if<engine::TrainProgress>(&**update)) run.progress.push_back(*progress);
    if (const auto* evaluation = std::get_if<engine::TrainEvaluation>(&**update)) {
      run.evaluations.push_back(*evaluation);
    }
    if (const auto* done = std::get_if<engine::TrainDone>(&**update)) run.done = *done;
    if (std::holds_alternative<engine::CheckpointDue>(**update)) {
      run.checkpoints.push_back(FreshFolder("checkpoint"));
      run.status = (*trainer)->SaveCheckpoint(run.checkpoints.back());
    }
  }
  if (!run.status.ok()) return run;
  run.folder = FreshFolder("adapter");
  run.status = (*trainer)->Export(run.folder, "finetuneJobs/toy");
  const char* weights = options.method == engine::Method::kHead         ? "head.safetensors"
                        : options.method == engine::Method::kFull       ? "model.safetensors"
                        : options.method == engine::Method::kBottleneck ? "adapter.safetensors"
                                                                        : "adapter_model.safetensors";
  run.weights = ReadBytes(run.folder / weights);
  return run;
}

std::string ReadBytes(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

}  // namespace tenon::testing
