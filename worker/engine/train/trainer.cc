#include "worker/engine/train/trainer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/adapter/adapter.h"
#include "worker/engine/model/torch_util.h"
#include "worker/engine/train/adapter_learner.h"
#include "worker/engine/train/classification_task.h"
#include "worker/engine/train/full_learner.h"
#include "worker/engine/train/head_learner.h"
#include "worker/engine/train/pairs.h"
#include "worker/engine/train/random.h"
#include "worker/engine/train/seq2seq_task.h"
#include "worker/engine/train/span_task.h"
#include "worker/engine/train/train_loop.h"

namespace tenon::engine {
namespace {

// A comparison must not cost more than what it is compared with: the probe of an adapter's run sees at most so many
// training rows.
constexpr int64_t kBaselineRows = 4000;
constexpr int64_t kLeastTokens = 3;  // [CLS], a word and [SEP]

struct Site {
  std::shared_ptr<const Base> base;
  std::shared_ptr<const Encoder> encoder;
  std::shared_ptr<const TokenData> data;
  formats::TenonConfig config;
};

// The linear probe's own recipe: what method `head` does when nothing is set.
TrainOptions BaselineOptions(const TrainOptions& options) {
  TrainOptions probe;
  probe.method = Method::kHead;
  probe.learning_rate = 1e-2;
  probe.metric_for_best = options.metric_for_best;
  probe.save_steps = std::numeric_limits<int32_t>::max();
  probe.seed = options.seed;
  probe.precision = options.precision;
  return probe;
}

absl::StatusOr<std::unique_ptr<TrainLoop>> MakeHeadLoop(const Site& site, const TrainOptions& options,
                                                        const AdapterTensors* initial) {
  formats::TenonConfig config = site.config;
  config.method = "head";
  config.normalize = true;  // one learning rate then fits every base
  const formats::EncoderConfig& base = site.encoder->config();
  ASSIGN_OR_RETURN(TrainableAdapter adapter,
                   TrainableAdapter::MakeHead(base.vector_size(), base.initializer_range, options.seed,
                                              site.encoder->device(), config, initial));
  auto learner = std::make_unique<HeadLearner>(site.encoder, options, site.data, std::move(adapter));
  return std::make_unique<TrainLoop>(options, std::move(learner), nullptr);
}

absl::StatusOr<std::unique_ptr<TrainLoop>> MakeBaseline(Site site, const TrainOptions& options) {
  if (!options.head_baseline || site.data->validation.size() == 0) return nullptr;
  if (site.data->train.size() > kBaselineRows) {
    auto fewer = std::make_shared<TokenData>(*site.data);
    CounterRandom random(StreamKey(options.seed, Stream::kFeatures, {}));
    std::vector<int64_t> rows = Permutation(site.data->train.size(), random);
    rows.resize(kBaselineRows);
    fewer->train = site.data->train.Select(rows);
    site.data = std::move(fewer);
  }
  return MakeHeadLoop(site, BaselineOptions(options), nullptr);
}

// Tokens that a prompt begins as.
std::vector<int32_t> InitTokens(const Base& base, const TrainOptions& options) {
  constexpr int64_t kAll = 1 << 20;
  if (options.method != Method::kPromptTuning || options.prompt.init != formats::PromptInit::kText) return {};
  return base.tokenizer().Encode(options.prompt.init_text, kAll).ids;  // special tokens too, as PEFT
}

absl::Status CheckClassifies(const formats::EncoderConfig& config) {
  if (!config.family->head.model_class.empty()) return absl::OkStatus();
  return TenonError(Reason::kUnsupported,
                    absl::StrCat("a base of type ", config.family->model_type,
                                 " takes no classifier on its first token, as transformers has none; use method head"),
                    "method");
}

absl::StatusOr<std::unique_ptr<TrainLoop>> MakeAdapterLoop(const Site& site, const TrainOptions& options,
                                                           const AdapterTensors* initial) {
  RETURN_IF_ERROR(CheckClassifies(site.encoder->config()));
  if (!site.encoder->takes_head()) {
    return TenonError(Reason::kUnsupported, "the base has no pooler, on which a classifier stands; use method head",
                      "pooler.dense.weight");
  }
  ASSIGN_OR_RETURN(TrainableAdapter adapter, TrainableAdapter::Make(*site.encoder, options, site.config, initial,
                                                                    InitTokens(*site.base, options)));
  ASSIGN_OR_RETURN(std::unique_ptr<TrainLoop> baseline, MakeBaseline(site, options));
  auto task = std::make_unique<ClassificationTask>(site.encoder, options, site.data, std::move(adapter));
  return std::make_unique<TrainLoop>(options, std::make_unique<AdapterLearner>(options, std::move(task)),
                                     std::move(baseline));
}

absl::StatusOr<std::unique_ptr<TrainLoop>> MakeFullLoop(const Site& site, const TrainOptions& options,
                                                        const AdapterTensors* initial) {
  RETURN_IF_ERROR(CheckClassifies(site.encoder->config()));
  ASSIGN_OR_RETURN(std::unique_ptr<Learner> learner,
                   NewFullLearner(site.base, options, site.data, site.config, initial));
  ASSIGN_OR_RETURN(std::unique_ptr<TrainLoop> baseline, MakeBaseline(site, options));
  return std::make_unique<TrainLoop>(options, std::move(learner), std::move(baseline));
}

// Tokens that a text is cut to: virtual ones need positions too, and leave three at least.
absl::StatusOr<int64_t> MaxTokens(const Base& base, const TrainOptions& options) {
  const int64_t asked = options.max_input_tokens, positions = base.config().max_tokens();
  const int64_t virtual_tokens = options.method == Method::kPromptTuning ? options.prompt.num_virtual_tokens : 0;
  const auto refuse = [&](const std::string& option, int64_t value) {
    const std::string beside = virtual_tokens > 0 && option == "max_input_tokens"
                                   ? absl::StrCat(" for these and ", virtual_tokens, " virtual tokens")
                                   : "";
    return TenonError(Reason::kOptionInvalid,
                      absl::StrCat(option, " is ", value, "; the base has ", positions, " positions", beside), option);
  };
  if (virtual_tokens > positions - kLeastTokens) return refuse("num_virtual_tokens", virtual_tokens);
  if (asked > positions - virtual_tokens) return refuse("max_input_tokens", asked);
  return asked > 0 ? asked : std::min(base.default_max_tokens(), positions - virtual_tokens);
}

const char* MethodName(Method method) {
  switch (method) {
    case Method::kHead:
      return "head";
    case Method::kLora:
      return "lora";
    case Method::kPromptTuning:
      return "prompt_tuning";
    case Method::kBottleneck:
      return "bottleneck";
    case Method::kFull:
      return "full";
  }
  return "";
}

// A head on every token. There is no cheaper probe to show beside it: method `head` goes through the same network.
absl::StatusOr<std::unique_ptr<TrainLoop>> MakeSpanLoop(std::shared_ptr<const Base> base, const TrainOptions& options,
                                                        const TrainData& data, const AdapterTensors* initial,
                                                        const std::function<bool()>& cancelled) {
  RETURN_IF_ERROR(CheckClassifies(base->config()));
  if (options.crf && data.head() != formats::HeadKind::kTokens) {
    return TenonError(Reason::kOptionInvalid, "crf is for tags of words", "crf");
  }
  if (options.crf && options.method == Method::kFull) {
    return TenonError(Reason::kUnsupported, "crf with method full: a base could not say that its tags form a chain",
                      "crf");
  }
  ASSIGN_OR_RETURN(const int64_t max_tokens, MaxTokens(*base, options));
  ASSIGN_OR_RETURN(const std::shared_ptr<const SpanData> rows,
                   TokenizeSpans(data, options, base->tokenizer(), max_tokens, cancelled));
  if (base->config().one_type() && rows->has_second_types()) return formats::OneTypeError("context");
  formats::TenonConfig config;
  config.task = formats::TaskOfHead(rows->kind);
  config.method = MethodName(options.method);
  config.labels = data.labels;
  config.crf = options.crf;
  config.base_digest = base->digest();
  config.pooling = base->config().sentence.pooling;
  config.normalize = base->config().sentence.normalize;
  config.max_input_tokens = max_tokens;
  if (options.method == Method::kFull) {
    ASSIGN_OR_RETURN(std::unique_ptr<Learner> learner, NewFullLearner(base, options, rows, config, initial));
    return std::make_unique<TrainLoop>(options, std::move(learner), nullptr);
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<const Encoder> encoder, base->encoder(options.precision));
  ASSIGN_OR_RETURN(TrainableAdapter adapter, TrainableAdapter::Make(TrainingSite(*encoder, rows->kind), options, config,
                                                                    initial, InitTokens(*base, options)));
  auto task = std::make_unique<SpanTask>(encoder, options, rows, std::move(adapter));
  return std::make_unique<TrainLoop>(options, std::make_unique<AdapterLearner>(options, std::move(task)), nullptr);
}

absl::StatusOr<std::unique_ptr<TrainLoop>> MakeClassifierLoop(std::shared_ptr<const Base> base,
                                                              const TrainOptions& options, const TrainData& data,
                                                              const AdapterTensors* initial,
                                                              const std::function<bool()>& cancelled) {
  ASSIGN_OR_RETURN(const int64_t max_tokens, MaxTokens(*base, options));
  Site site{.base = base};
  ASSIGN_OR_RETURN(site.data, TokenizeData(data, base->tokenizer(), max_tokens, cancelled));
  if (base->config().one_type() && site.data->has_second_types()) return formats::OneTypeError("text_pair");
  // Of a model that is trained whole only the baseline reads the frozen base: it takes the copy that serves.
  ASSIGN_OR_RETURN(site.encoder,
                   base->encoder(options.method == Method::kFull ? base->precision() : options.precision));
  site.config.task = "sequence_classification";
  site.config.method = MethodName(options.method);
  site.config.labels = data.labels;
  site.config.multi_label = data.multi_label;
  site.config.regression = data.regression;
  site.config.sentence_scorer = data.sentence_scorer;
  site.config.base_digest = base->digest();
  site.config.pooling = base->config().sentence.pooling;
  site.config.normalize = base->config().sentence.normalize;
  site.config.max_input_tokens = max_tokens;
  return options.method == Method::kHead   ? MakeHeadLoop(site, options, initial)
         : options.method == Method::kFull ? MakeFullLoop(site, options, initial)
                                           : MakeAdapterLoop(site, options, initial);
}

absl::StatusOr<std::unique_ptr<TrainLoop>> MakeSeq2SeqLoop(std::shared_ptr<const Base> base,
                                                           const TrainOptions& options, const TrainData& data,
                                                           const AdapterTensors* initial,
                                                           const std::function<bool()>& cancelled) {
  if (options.method == Method::kHead) {
    return TenonError(Reason::kUnsupported,
                      absl::StrCat("method ", MethodName(options.method), " on a base that writes texts"), "method");
  }
  // Positions are relative: nothing limits them.
  const int64_t max_tokens = options.max_input_tokens > 0 ? options.max_input_tokens : base->default_max_tokens();
  ASSIGN_OR_RETURN(std::shared_ptr<const PairData> pairs,
                   TokenizePairs(data, base->tokenizer(), max_tokens, options.max_target_tokens, cancelled));
  formats::TenonConfig config;
  config.task = "seq2seq";
  config.method = MethodName(options.method);
  config.base_digest = base->digest();
  config.max_input_tokens = max_tokens;
  if (options.method == Method::kFull) {
    ASSIGN_OR_RETURN(std::unique_ptr<Learner> learner,
                     NewFullLearner(std::move(base), options, std::move(pairs), config, initial));
    return std::make_unique<TrainLoop>(options, std::move(learner), nullptr);
  }
  ASSIGN_OR_RETURN(std::shared_ptr<const T5Model> model, base->t5(options.precision));
  ASSIGN_OR_RETURN(TrainableAdapter adapter,
                   TrainableAdapter::Make(*model, options, config, initial, InitTokens(*base, options)));
  auto task = std::make_unique<Seq2SeqTask>(std::move(model), options, std::move(pairs), std::move(adapter));
  return std::make_unique<TrainLoop>(options, std::make_unique<AdapterLearner>(options, std::move(task)), nullptr);
}

}  // namespace

int64_t Trainer::MemoryBytes(const Base& base, const TrainOptions& options, bool validates) {
  if (options.method != Method::kFull) return 0;
  const int64_t copies = validates ? 5 : 4;
  return copies * static_cast<int64_t>(sizeof(float)) * base.parameters();
}

absl::StatusOr<int64_t> Trainer::CountWindows(const Base& base, const TrainOptions& options,
                                              const std::vector<AnsweredQuestion>& questions,
                                              const std::function<bool()>& cancelled) {
  if (base.generates()) return static_cast<int64_t>(questions.size());  // Create says what is wrong
  TrainData data;
  data.train_questions = questions;
  ASSIGN_OR_RETURN(const int64_t max_tokens, MaxTokens(base, options));
  ASSIGN_OR_RETURN(const auto rows, TokenizeSpans(data, options, base.tokenizer(), max_tokens, cancelled));
  return rows->train.size();
}

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(std::shared_ptr<const Base> base, const TrainOptions& asked,
                                                         TrainData data,
                                                         const std::optional<std::filesystem::path>& checkpoint,
                                                         const std::optional<std::filesystem::path>& initial,
                                                         const std::function<bool()>& cancelled) {
  return Guarded([&]() -> absl::StatusOr<std::unique_ptr<Trainer>> {
    RETURN_IF_ERROR(formats::CheckTrainOptions(asked));
    TrainOptions options = asked;
    const formats::HeadKind head = data.head();
    const formats::Learns learns = base->generates()                     ? formats::Learns::kTexts
                                   : head == formats::HeadKind::kTokens  ? formats::Learns::kTags
                                   : head == formats::HeadKind::kAnswers ? formats::Learns::kAnswers
                                   : data.regression                     ? formats::Learns::kNumbers
                                                                         : formats::Learns::kClasses;
    ASSIGN_OR_RETURN(options.metric_for_best, formats::ResolveMetric(asked.metric_for_best, learns));
    if (options.method == Method::kFull && options.precision != Precision::kFp32) {
      return TenonError(Reason::kOptionInvalid, "precision must be fp32: method full trains all weights", "precision");
    }
    std::shared_ptr<const HostAdapter> start;
    if (initial.has_value()) {
      ASSIGN_OR_RETURN(start, HostAdapter::Load(*initial, *base));
    }
    const AdapterTensors* tensors = start != nullptr ? &start->tensors() : nullptr;
    ASSIGN_OR_RETURN(std::unique_ptr<TrainLoop> loop,
                     base->generates() ? MakeSeq2SeqLoop(base, options, data, tensors, cancelled)
                     : head != formats::HeadKind::kSequence
                         ? MakeSpanLoop(base, options, data, tensors, cancelled)
                         : MakeClassifierLoop(base, options, data, tensors, cancelled));
    if (cancelled()) return TenonError(Reason::kCancelled, "the job was cancelled");  // before more is read
    if (checkpoint.has_value()) RETURN_IF_ERROR(loop->Restore(*checkpoint));
    return std::unique_ptr<Trainer>(std::move(loop));
  });
}

}  // namespace tenon::engine
