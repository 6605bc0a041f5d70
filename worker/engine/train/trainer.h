// Fine-tuning of one adapter on a frozen base, or of all weights of a base, cut into slices. Free of torch.
//
// What a slice computes is fixed by the options, the rows and the seed; load on the machine decides only when it runs.
// The same inputs give the same bytes, with any number of pauses and with a stop and resume at any checkpoint (same CPU
// model, thread count and precision).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "common/formats/encoder_family.h"
#include "common/formats/train_options.h"
#include "worker/engine/base.h"

namespace tenon::engine {

using formats::Method;
using formats::Schedule;

// The options that server and trainer share, and the precision of the frozen base.
struct TrainOptions : formats::TrainOptions {
  Precision precision = Precision::kFp32;
};

// A row: text and label indices (one, or any number for multi-label), or the numbers of a regression.
struct LabelledText {
  std::string text;
  std::vector<int64_t> labels;
  std::string text_pair;      // the second text of a pair; empty: the text stands alone
  std::vector<float> values;  // of a regression, in place of labels
};

// A row of a base that writes: what it reads and what it shall write.
struct TextPair {
  std::string input;
  std::string target;
};

// A row of words, each with the index of its tag.
struct TaggedWords {
  std::vector<std::string> words;
  std::vector<int64_t> tags;
};

// A question, a text that it is asked of, and the answers in it; none where it has none.
struct AnsweredQuestion {
  struct Answer {
    std::string text;
    size_t begin = 0;  // byte of the context
  };
  std::string question, context;
  std::vector<Answer> answers;
};

// Labelled texts, or, for a base that writes (Base::generates), pairs and no labels; or words with tags; or questions,
// whose labels are AnswerLabels().
struct TrainData {
  std::vector<LabelledText> train;
  std::vector<LabelledText> validation;  // may be empty
  std::vector<std::string> labels;       // in index order
  bool multi_label = false;
  bool regression = false;  // rows have numbers, and `labels` are the names of the outputs
  std::optional<formats::SentenceScorer> sentence_scorer;  // of rows made by summarize/scorer.h; goes to tenon.json
  std::vector<TextPair> train_pairs;
  std::vector<TextPair> validation_pairs;  // may be empty

  std::vector<TaggedWords> train_words, validation_words;               // the latter may be empty
  std::vector<AnsweredQuestion> train_questions, validation_questions;  // likewise

  bool validates() const {
    return !validation.empty() || !validation_pairs.empty() || !validation_words.empty() ||
           !validation_questions.empty();
  }
  // Of an encoder's: what kind of head the rows are for.
  formats::HeadKind head() const {
    return !train_words.empty()       ? formats::HeadKind::kTokens
           : !train_questions.empty() ? formats::HeadKind::kAnswers
                                      : formats::HeadKind::kSequence;
  }
};

// What a slice may have to say.
struct TrainProgress {  // after each optimizer step
  int64_t step = 0, total_steps = 0;
  double loss = 0;  // mean over the examples of this step, or over its target tokens
  double learning_rate = 0;
  int64_t examples = 0;  // of this step
  int64_t tokens = 0;    // inputs' and targets'
};
struct TrainEvaluation {
  int64_t step = 0;
  std::string kind;  // `untrained`, `validation`, `head_baseline`
  // accuracy, macro_f1, loss; loss, token_accuracy; loss and, unless all predictions are the same, pearson, spearman;
  // precision, recall, f1, accuracy, loss of tags; exact_match, f1, loss of answers.
  std::map<std::string, double> metrics;
  bool best = false;
};
struct CheckpointDue {  // call SaveCheckpoint before the next RunSlice
  int64_t step = 0;
};
struct TrainDone {
  int64_t total_steps = 0;
  int64_t best_step = 0;
  int64_t trainable_parameters = 0;
  int64_t trained_tokens = 0;
  bool stopped_early = false;
};
using TrainUpdate = std::variant<TrainProgress, TrainEvaluation, CheckpointDue, TrainDone>;

// Not thread-safe: one job's calls come one after another, from the device thread.
class Trainer {
 public:
  // Tokenizes, plans every batch of the run, seeds the job's generator, makes (or, from `checkpoint`, restores) the
  // adapter. OPTION_INVALID names the option. `base_digest` and `job` are written to tenon.json. `initial` starts from
  // an adapter's weights instead of new ones.
  //
  // Method `full` trains fp32 copies of every weight of the base and a new head; the base itself stays as it is, and
  // serves meanwhile. It is all fp32: Precision::kBf16 is OPTION_INVALID. `initial` may hold a head alone.
  //
  // Rows of words must fit the model, and so must questions: else DATASET_INVALID and TEXT_TOO_LARGE name row and key.
  //
  // CANCELLED once `cancelled`, which is asked before each row and each large read, says so.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(
      std::shared_ptr<const Base> base, const TrainOptions& options, TrainData data,
      const std::optional<std::filesystem::path>& checkpoint, const std::optional<std::filesystem::path>& initial,
      const std::function<bool()>& cancelled = [] { return false; });
  // Device bytes that a run holds beside its base, activations not counted: 0 for adapters, whose state is small. For
  // `full` 4 bytes a parameter for the weights, their gradients and AdamW's two moments each, and, where validation
  // rows choose one, for the best weights.
  static int64_t MemoryBytes(const Base& base, const TrainOptions& options, bool validates);
  // Training rows that questions make of these options: windows of their contexts (spans/answer_windows.h).
  static absl::StatusOr<int64_t> CountWindows(const Base& base, const TrainOptions& options,
                                              const std::vector<AnsweredQuestion>& questions,
                                              const std::function<bool()>& cancelled);
  virtual ~Trainer() = default;

  // One uninterruptible piece of device work (a layer forward or backward, an evaluation batch, an optimizer step), and
  // what there is to report after it; mostly nothing. LOSS_NOT_FINITE names the step. After TrainDone it must not be
  // called again.
  virtual absl::StatusOr<std::optional<TrainUpdate>> RunSlice() = 0;

  // Writes all state behind the last finished step into an empty folder: adapter, best adapter, optimizer, random
  // streams, place in the plan, CPU model, thread count, precision. Restoring it elsewhere than on the same kind
  // refuses nothing but says so in a notice.
  virtual absl::Status SaveCheckpoint(const std::filesystem::path& folder) = 0;
  // Writes the best adapter (last without validation rows) as PEFT files plus tenon.json, or the head's files. Of
  // `full` a base: see WriteFullModel in worker/engine/train/full_export.h.
  virtual absl::Status Export(const std::filesystem::path& folder, const std::string& job) = 0;

  // Optimizer steps of the whole run, and the step that the next slice belongs to (last finished + 1).
  virtual int64_t total_steps() const = 0;
  virtual int64_t next_step() const = 0;
  // What the job's owner should know, such as a checkpoint that came from another kind of machine; mostly empty.
  virtual std::string notice() const { return ""; }
};

}  // namespace tenon::engine
