#include "tests/worker/runtime/fake_engine.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/formats/status.h"

namespace tenon {
namespace testing {

FakeEngine& FakeEngine::Get() {
  static FakeEngine& engine = *new FakeEngine;
  return engine;
}

void FakeEngine::Reset() {
  host_loads = device_places = most_device_live = trainer_slices = 0;
  steps = joins = 0;
  on_infer = nullptr;
  on_load = nullptr;
  on_join = nullptr;
  on_step = nullptr;
  on_create = nullptr;
  on_slice = nullptr;
  notice.clear();
}

}  // namespace testing

namespace engine {

using testing::FakeEngine;

namespace {

// [CLS] word word ... [SEP], without [CLS] for a writer; a word that is a number n is token 1000 + n.
class FakeTokenizer final : public GenerativeTokenizer {
 public:
  explicit FakeTokenizer(bool writer) : writer_(writer) {}
  Encoding Encode(const std::string& text, int64_t max_tokens) const override {
    Encoding encoding;
    if (!writer_) encoding.ids.push_back(101);
    const std::vector<std::string> words = absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
    for (const std::string& word : words) {
      if (static_cast<int64_t>(encoding.ids.size()) + 1 >= max_tokens) {
        encoding.truncated = true;
        break;
      }
      encoding.ids.push_back(Token(word));
    }
    encoding.ids.push_back(102);
    return encoding;
  }
  // The second text's words, of type 1, behind the first's.
  Encoding EncodePair(const std::string& first, const std::string& second, int64_t max_tokens) const override {
    Encoding encoding = Encode(absl::StrCat(first, " ", second), max_tokens);
    encoding.second_type = static_cast<int64_t>(Encode(first, max_tokens).ids.size()) - 1;
    return encoding;
  }
  int64_t vocab_size() const override { return 100'000; }
  std::string separator() const override { return "[SEP]"; }
  // Numbers, and what a toy decoder may write, with blanks between.
  std::string Decode(absl::Span<const int32_t> ids) const override {
    std::vector<std::string> words;
    for (const int32_t id : ids) {
      if (id >= 1000) words.push_back(absl::StrCat(id - 1000));
      if (id > testing::kFakeEos && id < 100) words.push_back(absl::StrCat("t", id));
    }
    return absl::StrJoin(words, " ");
  }
  std::vector<int32_t> EncodePiece(const std::string& text) const override {
    std::vector<int32_t> ids;
    const std::vector<std::string> words = absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
    for (const std::string& word : words) ids.push_back(Token(word));
    return ids;
  }

 private:
  // A full stop behind a number is not read.
  static int32_t Token(const std::string& word) {
    int32_t number = 0;
    if (absl::SimpleAtoi(absl::StripSuffix(word, "."), &number)) return testing::FakeToken(number);
    return word == "on" ? testing::kFakeOn : 1;
  }
  const bool writer_;
};

}  // namespace

struct Base::State {
  explicit State(bool writes) : writer(writes), tokenizer(writes) {}
  formats::EncoderConfig config;
  bool writer;
  bool decoder_only = false;
  FakeTokenizer tokenizer;
  Options options;
  GenerationOptions generation, summary;
  std::string prefix = "summarize: ";
};

class Encoder {};

Base::Base(std::unique_ptr<State> state) : state_(std::move(state)) {}
Base::~Base() = default;
absl::StatusOr<std::shared_ptr<const Base>> Base::Load(const std::filesystem::path& folder, const Options& options) {
  const std::string name = folder.filename().string();
  if (name == "broken") return TenonError(Reason::kBaseInvalid, "config.json is missing");
  auto state = std::make_unique<State>(absl::StrContains(name, "writer"));
  state->options = options;
  state->decoder_only = absl::StrContains(name, "writer-alone");
  state->generation.eos_token_ids = {testing::kFakeEos};
  state->generation.decoder_start_token_id = 0;
  state->summary.max_length = 5;
  if (absl::StrContains(name, "classifier")) state->config.labels = {"a", "b"};
  return std::shared_ptr<const Base>(new Base(std::move(state)));
}
const formats::EncoderConfig& Base::config() const { return state_->config; }
const std::vector<std::string>& Base::labels() const { return state_->config.labels; }
const formats::SentenceConfig& Base::sentence() const { return state_->config.sentence; }
const Tokenizer& Base::tokenizer() const { return state_->tokenizer; }
const std::string& Base::digest() const { return state_->options.digest; }
const Device& Base::device() const { return state_->options.device; }
Precision Base::precision() const { return state_->options.precision; }
int64_t Base::default_max_tokens() const { return state_->decoder_only ? testing::kFakePositions : 128; }
int64_t Base::max_tokens() const {
  if (decoder_only()) return testing::kFakePositions;
  return generates() ? 0 : state_->config.max_tokens();
}
bool Base::generates() const { return state_->writer; }
bool Base::decoder_only() const { return state_->decoder_only; }
const GenerationOptions& Base::generation_defaults() const { return state_->generation; }
GenerationLimits Base::generation_limits() const {
  return {.vocab_size = 100'000, .max_positions = state_->decoder_only ? testing::kFakePositions : 0};
}
const std::string& Base::summary_prefix() const { return state_->prefix; }
const GenerationOptions& Base::summary_defaults() const { return state_->summary; }
const GenerativeTokenizer& Base::generative_tokenizer() const { return state_->tokenizer; }
int64_t Base::ResidentBytes() const { return 1000; }
int64_t Trainer::MemoryBytes(const Base&, const TrainOptions& options, bool validates) {
  return options.method == Method::kFull ? (validates ? 5000 : 4000) : 0;
}
absl::StatusOr<int64_t> Trainer::CountWindows(const Base&, const TrainOptions&,
                                              const std::vector<AnsweredQuestion>& questions,
                                              const std::function<bool()>&) {
  return static_cast<int64_t>(questions.size());
}
absl::StatusOr<std::shared_ptr<const Encoder>> Base::encoder(Precision) const {
  return std::make_shared<const Encoder>();
}

struct AdapterTensors {
  formats::TenonConfig config;
  int64_t labels = 0, answer = -1, bytes = 1000;
};

HostAdapter::HostAdapter(std::unique_ptr<AdapterTensors> tensors) : tensors_(std::move(tensors)) {}
HostAdapter::~HostAdapter() = default;
absl::StatusOr<std::shared_ptr<const HostAdapter>> HostAdapter::Load(const std::filesystem::path& folder, const Base&) {
  const std::string name = folder.filename().string();
  FakeEngine& fake = FakeEngine::Get();
  if (fake.on_load) RETURN_IF_ERROR(fake.on_load(name));
  ++fake.host_loads;
  if (name == "broken") return TenonError(Reason::kAdapterInvalid, "a tensor is missing");
  auto tensors = std::make_unique<AdapterTensors>();
  tensors->config.task = "sequence_classification";
  tensors->config.method = "lora";
  if (name == "large") tensors->bytes = 1 << 20;
  const std::vector<std::string> parts = absl::StrSplit(name, '-');
  if (parts.size() == 2 && absl::SimpleAtoi(parts[1], &tensors->answer)) {
    tensors->labels = testing::kFakeLabels;
    tensors->config.regression = parts[0] == "number";
    if (parts[0] == "limit") tensors->config.max_input_tokens = tensors->answer;
    if (parts[0] == "scorer") {
      tensors->labels = 2;
      tensors->config.sentence_scorer = formats::SentenceScorer{.neighbours = tensors->answer};
    }
    if (parts[0] == "template") tensors->config.text_template = {"{input} 77", "{target}"};
    for (int64_t i = 0; i < tensors->labels; ++i) tensors->config.labels.push_back(absl::StrCat("label-", i));
  }
  return std::make_shared<const HostAdapter>(std::move(tensors));
}
const formats::TenonConfig& HostAdapter::config() const { return tensors_->config; }
int64_t HostAdapter::bytes() const { return tensors_->bytes; }
int64_t HostAdapter::num_labels() const { return tensors_->labels; }
int64_t HostAdapter::virtual_tokens() const { return 0; }
std::optional<Crf> HostAdapter::crf() const { return std::nullopt; }
const AdapterTensors& HostAdapter::tensors() const { return *tensors_; }

absl::StatusOr<std::shared_ptr<const DeviceAdapter>> DeviceAdapter::Place(std::shared_ptr<const HostAdapter> host,
                                                                          const Base&) {
  FakeEngine& fake = FakeEngine::Get();
  std::shared_ptr<DeviceAdapter> device(new DeviceAdapter);
  device->tensors_ = std::make_unique<AdapterTensors>(host->tensors());
  device->host_ = std::move(host);
  ++fake.device_places;
  const int64_t live = ++fake.device_live;
  int64_t most = fake.most_device_live;
  while (most < live && !fake.most_device_live.compare_exchange_weak(most, live)) {
  }
  return device;
}
DeviceAdapter::~DeviceAdapter() { --FakeEngine::Get().device_live; }
int64_t DeviceAdapter::bytes() const { return tensors_->bytes; }
const AdapterTensors& DeviceAdapter::tensors() const { return *tensors_; }

}  // namespace engine
int64_t testing::FakeAnswer(const engine::DeviceAdapter& adapter) { return adapter.tensors().answer; }
namespace engine {

absl::StatusOr<std::vector<std::vector<float>>> Infer(const Base& base, absl::Span<const InferRow> rows) {
  FakeEngine& fake = FakeEngine::Get();
  if (fake.on_infer) RETURN_IF_ERROR(fake.on_infer({rows.begin(), rows.end()}));
  std::vector<std::vector<float>> values;
  for (const InferRow& row : rows) {
    const int64_t answer = row.adapter == nullptr ? -1 : row.adapter->tensors().answer;
    if (row.adapter != nullptr && row.adapter->host().config().sentence_scorer.has_value()) {
      values.push_back({0, static_cast<float>((*row.ids)[1])});
    } else if (row.output == Output::kEmbedding) {
      values.push_back({static_cast<float>(base.digest().size()), static_cast<float>(answer),
                        static_cast<float>(row.ids->size()), static_cast<float>((*row.ids)[1])});
    } else {
      values.emplace_back(row.adapter == nullptr ? 2 : testing::kFakeLabels, 0.0f);
      values.back()[answer < 0 ? 0 : answer] = 1;
    }
    if ((*row.ids)[1] == testing::FakeToken(testing::kFakeOverflow)) values.back().back() = NAN;
  }
  return values;
}
absl::Status WarmUp(const Base&) { return absl::OkStatus(); }
void SetThreads(int) {}

namespace {

// Its weight is a hash over the rows in order of the steps: like a real one, the same for the same inputs only.
class FakeTrainer final : public Trainer {
 public:
  FakeTrainer(const TrainOptions& options, TrainData data) : options_(options), data_(std::move(data)) {}

  absl::StatusOr<std::optional<TrainUpdate>> RunSlice() override {
    FakeEngine& fake = FakeEngine::Get();
    if (fake.on_slice) RETURN_IF_ERROR(fake.on_slice(fake.trainer_slices));
    ++fake.trainer_slices;
    if (finished_step_ == options_.max_steps) {
      return TrainDone{.total_steps = options_.max_steps, .best_step = options_.max_steps, .trainable_parameters = 7};
    }
    if (checkpoint_due_) {
      checkpoint_due_ = false;
      return CheckpointDue{finished_step_};
    }
    if (++slice_ < testing::kFakeSlicesPerStep) return std::nullopt;
    slice_ = 0;
    const LabelledText& row = data_.train[finished_step_ % data_.train.size()];
    for (const char c : row.text) weight_ = (weight_ ^ static_cast<uint8_t>(c)) * 1099511628211ULL;
    weight_ ^= options_.seed;
    ++finished_step_;
    checkpoint_due_ = options_.save_steps > 0 && finished_step_ % options_.save_steps == 0;
    return TrainProgress{.step = finished_step_,
                         .total_steps = options_.max_steps,
                         .loss = 1.0 / finished_step_,
                         .learning_rate = 0.5,
                         .examples = 1};
  }
  absl::Status SaveCheckpoint(const std::filesystem::path& folder) override {
    std::ofstream(folder / "state") << finished_step_ << ' ' << weight_;
    return absl::OkStatus();
  }
  absl::Status Export(const std::filesystem::path& folder, const std::string& job) override {
    std::ofstream(folder / "adapter_model.safetensors") << weight_;
    std::ofstream(folder / "tenon.json") << job;
    return absl::OkStatus();
  }
  int64_t total_steps() const override { return options_.max_steps; }
  int64_t next_step() const override { return finished_step_ + 1; }

  std::string notice() const override { return notice_; }

  void Restore(const std::filesystem::path& folder) {
    std::ifstream(folder / "state") >> finished_step_ >> weight_;
    notice_ = FakeEngine::Get().notice;
  }

 private:
  const TrainOptions options_;
  const TrainData data_;
  int64_t finished_step_ = 0, slice_ = 0;
  bool checkpoint_due_ = false;
  std::string notice_;
  uint64_t weight_ = 14695981039346656037ULL;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(std::shared_ptr<const Base>, const TrainOptions& options,
                                                         TrainData data,
                                                         const std::optional<std::filesystem::path>& checkpoint,
                                                         const std::optional<std::filesystem::path>&,
                                                         const std::function<bool()>& cancelled) {
  if (FakeEngine::Get().on_create) FakeEngine::Get().on_create(cancelled);
  if (cancelled()) return TenonError(Reason::kCancelled, "the job was cancelled");
  if (options.learning_rate <= 0)
    return TenonError(Reason::kOptionInvalid, "learning_rate must be above 0", "learning_rate");
  auto trainer = std::make_unique<FakeTrainer>(options, std::move(data));
  if (checkpoint.has_value()) trainer->Restore(*checkpoint);
  return trainer;
}

}  // namespace engine
}  // namespace tenon
