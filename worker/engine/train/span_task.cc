#include "worker/engine/train/span_task.h"

#include <ATen/core/grad_mode.h>

#include <utility>

#include "worker/engine/spans/tags.h"

namespace tenon::engine {
namespace {

// One micro-batch's way, whose loss is what `loss` makes of the last states.
class SpanSegments final : public Segments {
 public:
  using LossOf = std::function<at::Tensor(const at::Tensor& states)>;
  SpanSegments(const Network& network, PackedBatch batch, LossOf loss)
      : network_(network), batch_(std::move(batch)), loss_(std::move(loss)) {}

  int64_t layers() const override { return network_.layers(); }
  at::Tensor Layer(int64_t index, const at::Tensor& x, const at::Tensor& /*source*/) const override {
    return network_.Layer(index, index == 0 ? network_.Embed(batch_) : x, batch_);
  }
  at::Tensor Loss(int64_t /*part*/, const at::Tensor& x) const override { return loss_(x); }

 private:
  const Network& network_;
  const PackedBatch batch_;
  const LossOf loss_;
};

std::optional<Crf> ChainOf(const AdapterTensors& adapter) {
  if (!adapter.config.crf) return std::nullopt;
  const auto numbers = [&](const char* module) {
    const at::Tensor values = adapter.modules.at(module).weight.detach().to(at::kCPU).contiguous();
    return std::vector<float>(values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel());
  };
  return Crf{numbers(kChainStart), numbers(kChainEnd), numbers(kChainTransitions)};
}

}  // namespace

SpanTask::SpanTask(std::shared_ptr<const EncoderLayers> encoder, const TrainOptions& options,
                   std::shared_ptr<const SpanData> data, TrainableAdapter adapter)
    : encoder_(std::move(encoder)),
      data_(std::move(data)),
      adapter_(std::move(adapter)),
      dropout_(options.seed, encoder_->device()),
      training_(*encoder_, adapter_, ResolveDropout(encoder_->config(), options.base_dropout, data_->kind), &dropout_),
      evaluating_(*encoder_, adapter_, {}, nullptr),
      batches_(EvaluationBatches(data_->validation.lengths(), encoder_->device().is_cpu(),
                                 adapter_.adapter().virtual_tokens())) {}

PackedBatch SpanTask::Packed(const TokenRows& data, const MicroBatch& rows) const {
  return PackRows(data, rows, encoder_->device(), adapter_.adapter().virtual_tokens());
}

int64_t SpanTask::TermsOf(const TokenRows& data, const MicroBatch& rows) const {
  if (data_->kind == formats::HeadKind::kAnswers) return static_cast<int64_t>(rows.size());
  int64_t words = 0;
  for (const int64_t row : rows) words += static_cast<int64_t>(data.labels[static_cast<size_t>(row)].size());
  return words;
}

at::Tensor SpanTask::Loss(const at::Tensor& logits, const SpanTargets& targets) const {
  if (data_->kind == formats::HeadKind::kAnswers) return SumAnswerLoss(logits, targets);
  return data_->crf ? SumChainLoss(logits, targets, adapter_.adapter()) : SumTagLoss(logits, targets);
}

std::unique_ptr<const Segments> SpanTask::Pass(const MicroBatch& rows) const {
  PackedBatch batch = Packed(data_->train, rows);
  SpanTargets targets = PickSpans(data_->train, rows, batch, adapter_.adapter().virtual_tokens());
  return std::make_unique<SpanSegments>(
      training_, std::move(batch),
      [this, targets = std::move(targets)](const at::Tensor& states) { return Loss(training_.Head(states), targets); });
}

void SpanTask::CountTags(const std::vector<float>& logits, const SpanTargets& targets) {
  const size_t labels = data_->labels.size();
  const std::optional<Crf> chain = ChainOf(adapter_.adapter());
  size_t next = 0;
  for (const int64_t count : targets.counts) {
    std::vector<std::vector<float>> words;
    std::vector<TagChoice> truth;
    for (int64_t word = 0; word < count; ++word, ++next) {
      const auto from =
          logits.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(targets.tokens[next]) * labels);
      words.emplace_back(from, from + static_cast<std::ptrdiff_t>(labels));
      truth.push_back({targets.labels[next], 1});
    }
    const std::vector<TagChoice> chosen = ChooseTags(words, chain.has_value() ? &*chain : nullptr);
    tags_->Add(TagNames(truth, data_->labels), TagNames(chosen, data_->labels));
  }
}

std::optional<Metrics> SpanTask::EvaluationSlice() {
  const at::NoGradGuard no_grad;
  const bool answers = data_->kind == formats::HeadKind::kAnswers;
  if (next_ == 0) {
    loss_ = 0;
    terms_ = 0;
    tags_.emplace();
    rows_.assign(answers ? data_->validation.ids.size() : 0, {});
  }
  const MicroBatch& rows = batches_[next_++];
  const PackedBatch batch = Packed(data_->validation, rows);
  const SpanTargets targets = PickSpans(data_->validation, rows, batch, adapter_.adapter().virtual_tokens());
  const at::Tensor logits = evaluating_.Logits(batch);
  loss_ += Loss(logits, targets).item<double>();
  terms_ += TermsOf(data_->validation, rows);
  const at::Tensor on_host = logits.to(at::kCPU).contiguous();
  const float* data = on_host.const_data_ptr<float>();
  const std::vector<float> values(data, data + on_host.numel());
  if (!answers) CountTags(values, targets);
  for (size_t i = 0; answers && i < rows.size(); ++i) {
    rows_[static_cast<size_t>(rows[i])].assign(values.begin() + 2 * targets.offsets[i],
                                               values.begin() + 2 * targets.ends[i]);
  }
  if (next_ < batches_.size()) return std::nullopt;
  next_ = 0;
  return answers ? FinishAnswers() : FinishTags();
}

Metrics SpanTask::FinishTags() const {
  const TagScores scores = tags_->Finish();
  return {{"precision", scores.precision},
          {"recall", scores.recall},
          {"f1", scores.f1},
          {"accuracy", scores.accuracy},
          {"loss", loss_ / static_cast<double>(terms_)}};
}

Metrics SpanTask::FinishAnswers() const {
  AnswerEvaluator evaluator;
  size_t first = 0;
  for (size_t i = 0; i < data_->questions.size(); ++i) {
    const AnsweredQuestion& row = data_->questions[i];
    std::vector<const std::vector<float>*> windows;
    for (size_t w = 0; w < data_->windows[i].windows.size(); ++w) windows.push_back(&rows_[first + w]);
    first += windows.size();
    const FoundAnswers found = FindAnswers(data_->windows[i], windows, data_->search);
    std::vector<std::string> truth;
    for (const AnsweredQuestion::Answer& answer : row.answers) truth.push_back(answer.text);
    const bool none = found.no_answer || found.best.empty();
    const TextPlace place = none ? TextPlace() : found.best.front().place;
    evaluator.Add(truth, row.context.substr(place.begin, place.end - place.begin));
  }
  const AnswerScores scores = evaluator.Finish();
  return {
      {"exact_match", scores.all.exact_match}, {"f1", scores.all.f1}, {"loss", loss_ / static_cast<double>(terms_)}};
}

}  // namespace tenon::engine
