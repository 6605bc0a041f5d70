// The device loop: one thread that owns a device and runs slices of inference and training on it. Free of torch, gRPC
// and protobuf.
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
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/formats/dataset.h"
#include "common/formats/text_template.h"
#include "worker/engine/device.h"
#include "worker/engine/evaluate/answers.h"
#include "worker/engine/evaluate/classification.h"
#include "worker/engine/evaluate/regression.h"
#include "worker/engine/evaluate/seq2seq.h"
#include "worker/engine/evaluate/tags.h"
#include "worker/engine/generate/options.h"
#include "worker/engine/generate/sequence.h"
#include "worker/engine/infer.h"
#include "worker/engine/spans/answers.h"
#include "worker/engine/spans/crf.h"
#include "worker/engine/summarize/scorer.h"
#include "worker/engine/train/trainer.h"
#include "worker/runtime/summary.h"

namespace tenon::runtime {

// Brings an adapter revision's files to this machine's disk. Called on the loader thread, never on the device thread;
// may block.
class AdapterSource {
 public:
  virtual ~AdapterSource() = default;
  // Folder with the files of revision `digest`, every byte checked.
  virtual absl::StatusOr<std::filesystem::path> Fetch(const std::string& digest) = 0;
};

// Rows that somebody else made of a call's texts, and which text each is of.
struct EncodedRows {
  std::vector<engine::Encoding> encodings;
  std::vector<size_t> texts;
};

struct InferenceCall {
  std::string base_digest;
  std::string adapter_digest;  // empty: the base alone
  engine::Output output = engine::Output::kEmbedding;
  std::vector<std::string> texts;  // empty: only load and check the adapter
  // None, or the second text of each pair: an empty one leaves its text alone.
  std::vector<std::string> text_pairs;
  // Makes the rows, of at most `max_tokens` tokens each, in place of one for each text. On a tokenizer thread, once.
  std::function<absl::StatusOr<EncodedRows>(const engine::Base& base, int64_t max_tokens)> encode;
  // Unset: the base's own.
  std::optional<formats::Pooling> pooling;
  std::optional<bool> normalize;
  absl::Time deadline = absl::InfiniteFuture();
};

struct InferenceRow {
  std::vector<float> values;
  int32_t input_tokens = 0;
  bool truncated = false;
};

struct InferenceReply {
  std::vector<InferenceRow> rows;
  formats::TenonConfig adapter;    // of the adapter, when one was named; else only the labels of the base's own head
  int64_t virtual_tokens = 0;      // that the adapter puts in front of every row
  std::optional<engine::Crf> crf;  // of an adapter whose tags are chosen together
  absl::Duration queue_time, compute_time;
};

// Texts to continue, with a base that generates.
struct GenerationCall {
  std::string base_digest;
  std::string adapter_digest;  // empty: the base alone
  std::vector<std::string> texts;
  engine::GenerationOptions options;   // the request's own
  engine::GenerationOptions defaults;  // behind them, and before the base's own
  std::vector<std::string> bad_words;  // texts that no reply may hold; become options.bad_words
  int64_t max_input_tokens = 0;        // 0: the adapter's or the base's own
  bool stream = false;                 // one text, shown while it is written
  absl::Time deadline = absl::InfiniteFuture();
};

struct GenerationRow {
  std::vector<engine::GeneratedSequence> sequences;  // best first for beams
  int32_t input_tokens = 0, output_tokens = 0;
  bool truncated = false;
};

struct GenerationReply {
  std::vector<GenerationRow> rows;
  std::vector<std::string> ignored_options;  // that did nothing beside the others
  absl::Duration queue_time, compute_time;
};

struct GenerationCallbacks {
  // For `stream`: text that was added. On the device thread, must be quick; never after `done`.
  std::function<void(std::string text)> delta;
  // Exactly once, unless the call was cancelled.
  std::function<void(absl::StatusOr<GenerationReply>)> done;
};

// Callbacks of a training run. Called on the device thread but for `notice`, `checkpoint` and `done`. The latter two
// may block (uploads):
// they run on the runtime's publishing thread, in order, while other slices go on; the job's own next slice waits for
// `checkpoint` to return.
struct TrainCallbacks {
  std::function<void(const engine::TrainUpdate&)> update;
  // What the job's owner should know of its start; on the preparing thread, before the first update.
  std::function<void(const std::string& message)> notice;
  // A checkpoint folder to publish; an error stops the job with it.
  std::function<absl::Status(int64_t step, const std::filesystem::path& folder)> checkpoint;
  // Exactly once, last. On success `folder` holds the exported adapter or base; CANCELLED after CancelJob.
  std::function<void(absl::StatusOr<std::filesystem::path> folder)> done;
};

struct TrainJob {
  std::string id;    // unique among running jobs, for CancelJob
  std::string name;  // `finetuneJobs/{id}`, written to tenon.json
  std::string base_digest;
  engine::TrainOptions options;
  engine::TrainData data;
  // In place of `data`: texts with summaries, for a scorer of sentences.
  std::optional<engine::ScorerData> scorer;
  // With `scorer`, or questions in `data`: the options, once it is known how many rows its texts make, or windows their
  // contexts, in place of those above.
  std::function<absl::StatusOr<engine::TrainOptions>(int64_t rows)> options_for;
  std::optional<std::filesystem::path> checkpoint;

  // Whether there are validation rows.
  bool validates() const { return scorer.has_value() ? !scorer->validation.empty() : data.validates(); }
};

// Of classes, of a regression, of tags or of answers.
using HeadScores =
    std::variant<engine::ClassificationScores, engine::RegressionScores, engine::TagScores, engine::AnswerScores>;

// Rows with labels, or with the numbers of a regression, or of words with tags, or questions; the adapters are of that
// kind all.
struct EvalJob {
  std::string id;  // unique among running jobs, for CancelJob
  std::string base_digest;
  std::vector<std::string> adapter_digests;
  std::vector<engine::LabelledText> rows;
  std::vector<std::vector<std::string>> row_labels;  // as written in the data; mapped to each adapter's own label set
  std::vector<formats::TagsRow> words;               // in place of rows
  std::vector<engine::AnsweredQuestion> questions;   // likewise
  engine::AnswerOptions answers;                     // of questions
  int64_t max_input_tokens = 0;
};
struct EvalCallbacks {
  std::function<void(int64_t done, int64_t total)> progress;
  // Scores in the order of adapter_digests, with each adapter's labels.
  std::function<void(absl::StatusOr<std::vector<std::pair<formats::TenonConfig, HeadScores>>>)> done;
};

// Texts that a base and its adapters write, against references.
struct Seq2SeqEvalJob {
  std::string id;  // unique among running jobs, for CancelJob
  std::string base_digest;
  std::vector<std::string> adapter_digests;  // empty string: the base alone
  std::vector<formats::Record> rows;         // with the template's fields
  // Without: each adapter's own. FIELD_REQUIRED where neither is there.
  std::optional<formats::TextTemplate> text_template;
  engine::GenerationOptions options;   // before the base's own; without a seed each row has one of its own
  std::vector<std::string> bad_words;  // texts that no reply may hold; become options.bad_words
  int64_t max_input_tokens = 0;        // 0: the adapter's or the base's own
  int64_t max_target_tokens = 128;     // of a target that is read, its end included
  std::vector<std::string> labels;     // classification by writing: what a target may be
  bool use_stemmer = true;             // of ROUGE
};
struct Seq2SeqEvalCallbacks {
  std::function<void(int64_t done, int64_t total)> progress;
  // Scores in the order of adapter_digests.
  std::function<void(absl::StatusOr<std::vector<engine::Seq2SeqScores>>)> done;
};

// Numbers for the metrics page and the heartbeat; monotonic where named so.
struct RuntimeStats {
  int64_t adapters_on_device = 0, adapters_in_memory = 0, adapter_slots = 0;
  int64_t device_adapter_bytes = 0, host_adapter_bytes = 0;
  int64_t base_bytes = 0;
  int64_t training_bytes = 0;                  // of jobs that train a whole base
  int64_t queued_rows = 0, queued_tokens = 0;  // that wait for a batch, or to join a decoder
};

// Hooks for metrics; all optional, called on the device or loader thread, must be quick.
struct RuntimeObserver {
  std::function<void(int64_t rows, int64_t tokens, int64_t distinct_adapters, absl::Duration compute)> batch;
  // tier: `device` (already there), `memory`, `disk`.
  std::function<void(const std::string& tier)> adapter_get;
  std::function<void(const std::string& from, absl::Duration took, bool ok)> adapter_load;
  std::function<void(const std::string& tier)> adapter_eviction;
  // A decode step: sequences that got a token, source tokens read by those that joined with it, different models.
  std::function<void(int64_t lines, int64_t read_tokens, int64_t distinct_adapters, absl::Duration compute)> step;
  // kind: `inference`, `generate`, `train`, `evaluate`.
  std::function<void(const std::string& kind, absl::Duration took)> slice;
};

// Thread-safe. Destruction waits for the slice and the loads that run; calls and jobs that are not done then are
// dropped, their `done` never called.
class Runtime {
 public:
  struct Options {
    engine::Device device;
    engine::Precision precision = engine::Precision::kFp32;
    int threads = 0;                  // 0: the cores this process may use
    int64_t max_batch_tokens = 4096;  // of one inference batch, padding not counted
    int64_t max_batch_rows = 256;
    int64_t max_queued_tokens = 1 << 20;  // of a kind of inference; beyond: QUEUE_FULL
    int64_t max_decoder_lines = 64;       // sequences that a base writes at once, beams counted
    int64_t max_decoder_tokens = 65536;   // over lines, of source and longest sequence: what a decoder may have to keep
    int64_t device_adapters = 256;        // slots; an adapter in use is never evicted
    int64_t host_adapter_bytes = int64_t{2} << 30;
    int64_t memory_bytes = 0;       // of the device, for bases, adapters and jobs that train a whole base; 0: unknown
    double training_floor = 0.1;    // share of device time a waiting training job gets at least
    std::filesystem::path scratch;  // checkpoints and exports, removed after use
    const Clock* clock = &Clock::Real();
  };

  static absl::StatusOr<std::unique_ptr<Runtime>> Create(const Options& options, AdapterSource* source,
                                                         RuntimeObserver observer);
  virtual ~Runtime() = default;

  // Loads a base from a folder whose files were checked. Blocks the caller (not the device thread) until it is ready.
  virtual absl::Status LoadBase(const std::string& digest, const std::filesystem::path& folder) = 0;
  virtual std::vector<std::string> bases() const = 0;
  // Calls and jobs that come from now on get NO_WORKER. Those that are here finish, and the base's memory goes with the
  // last of them. No-op for one that is not held.
  virtual void UnloadBase(const std::string& digest) = 0;
  // Unloaded ones that calls or jobs still use.
  virtual std::vector<std::string> unloading_bases() const = 0;

  // Queues rows; `done` is called exactly once, on the device thread, unless the call was cancelled. Returns the call's
  // id.
  virtual uint64_t Submit(InferenceCall call, std::function<void(absl::StatusOr<InferenceReply>)> done) = 0;
  // The same for generation: rows of all calls on a base share its decoder's steps. NOT_GENERATIVE when the base only
  // encodes; FIELD_INVALID and UNSUPPORTED name the option at fault.
  virtual uint64_t SubmitGeneration(GenerationCall call, GenerationCallbacks callbacks) = 0;
  // The same for summaries: rows of encoder batches, or of decode steps.
  virtual uint64_t SubmitSummary(SummaryCall call, std::function<void(absl::StatusOr<SummaryReply>)> done) = 0;
  // Drops what is queued of a call; a slice that runs is not interrupted, the next one is without its rows. `done` is
  // not called afterwards.
  virtual void Cancel(uint64_t call) = 0;

  // An id that runs already is ALREADY_EXISTS, a base that is not loaded NO_WORKER; OUT_OF_MEMORY when the job needs
  // more than is left (engine::Trainer::MemoryBytes). What is wrong with the job itself, `done` says.
  virtual absl::Status StartTraining(TrainJob job, TrainCallbacks callbacks) = 0;
  virtual absl::Status StartEvaluation(EvalJob job, EvalCallbacks callbacks) = 0;
  virtual absl::Status StartSeq2SeqEvaluation(Seq2SeqEvalJob job, Seq2SeqEvalCallbacks callbacks) = 0;
  // Stops a job within one slice, or before the next row of its preparation; its `done` gets CANCELLED. No-op for an
  // unknown id.
  virtual void CancelJob(const std::string& id) = 0;

  virtual RuntimeStats stats() const = 0;
};

}  // namespace tenon::runtime
