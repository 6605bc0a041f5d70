// A toy task that a tiny base can learn, and whole runs of it. No torch.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "worker/engine/base.h"
#include "worker/engine/train/trainer.h"

namespace tenon::testing {

// A fresh folder under the test's temporary one.
std::filesystem::path FreshFolder(const std::string& name);
// The base in a folder, a toy or what a run made of one. Fails the test on error, and is nullptr then.
std::shared_ptr<const engine::Base> LoadToy(const std::filesystem::path& folder);
// A tiny base, written and loaded.
std::shared_ptr<const engine::Base> MakeToyBase(double dropout = 0.1);

// Texts of three to twelve words, of which one decides the label. `rows` of them, drawn from `seed`.
std::vector<engine::LabelledText> ToyRows(int64_t rows, uint64_t seed, int64_t labels = 2);
engine::TrainData ToyData(int64_t train_rows, int64_t validation_rows, int64_t labels = 2);
engine::TrainOptions ToyOptions();

// The same for a base that writes, of T5's form or FLAN's. Its task: of a few letters the first decides what word
// is to be written.
std::shared_ptr<const engine::Base> MakeToyT5(bool flan = true);
engine::TrainData ToyPairs(int64_t train_rows, int64_t validation_rows);
engine::TrainOptions ToyT5Options();

// These options for method `full`.
engine::TrainOptions ForFull(engine::TrainOptions options);

struct ToyRun {
  std::vector<engine::TrainProgress> progress;
  std::vector<engine::TrainEvaluation> evaluations;
  std::vector<std::filesystem::path> checkpoints;  // saved whenever one was due, in order
  std::optional<engine::TrainDone> done;
  std::filesystem::path folder;  // the exported adapter
  std::string weights;           // bytes of its weight file
  absl::Status status;

  // Evaluations of this kind, in order.
  std::vector<engine::TrainEvaluation> Kind(const std::string& kind) const;
};

// Makes a trainer and runs it to its end. `between` is called before each slice.
ToyRun RunToy(std::shared_ptr<const engine::Base> base, const engine::TrainOptions& options, engine::TrainData data,
              const std::optional<std::filesystem::path>& checkpoint = std::nullopt,
              const std::function<void()>& between = nullptr);

std::string ReadBytes(const std::filesystem::path& file);

}  // namespace tenon::testing
