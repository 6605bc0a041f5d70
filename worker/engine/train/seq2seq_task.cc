#include "worker/engine/train/seq2seq_task.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

#include "worker/engine/train/rows.h"

namespace tenon::engine {
namespace {

// Target tokens of one part of the loss: about the work of a layer, so that requests do not wait for it.
constexpr int64_t kLossTokens = 256;

// Every dropout of the base has one rate.
ForwardHooks HooksOf(const TrainableAdapter& adapter, const T5Model& model, double base_dropout, JobDropout* dropout) {
  ForwardHooks hooks = adapter.Hooks(dropout, model.device());
  if (dropout == nullptr) return hooks;
  hooks.hidden_dropout = base_dropout >= 0 ? base_dropout : model.config().dropout_rate;
  hooks.attention_dropout = hooks.hidden_dropout;
  return hooks;
}

// Some rows, packed.
class PairSegments final : public Segments {
 public:
  PairSegments(const T5Training& network, const TokenPairs& data, const MicroBatch& rows, int64_t virtual_tokens)
      : network_(network) {
    std::vector<const std::vector<int32_t>*> sources, given;
    std::vector<std::vector<int32_t>> shifted;
    shifted.reserve(rows.size());
    for (const int64_t row : rows) {
      const std::vector<int32_t>& target = data.targets[static_cast<size_t>(row)];
      next_.insert(next_.end(), target.begin(), target.end());
      shifted.push_back({static_cast<int32_t>(config().decoder_start_token_id)});
      shifted.back().insert(shifted.back().end(), target.begin(), target.end() - 1);
      given.push_back(&shifted.back());
      sources.push_back(&data.sources[static_cast<size_t>(row)]);
    }
    sources_ = network_.Sources(sources, virtual_tokens);
    targets_ = network_.Targets(given);
  }

  int64_t layers() const override { return config().num_layers + config().num_decoder_layers; }
  int64_t source_layers() const override { return config().num_layers; }
  at::Tensor Layer(int64_t index, const at::Tensor& x, const at::Tensor& source) const override {
    const int64_t of_decoder = index - config().num_layers;
    if (of_decoder < 0) {
      return network_.EncoderLayer(index, index == 0 ? network_.EmbedSources(sources_) : x, sources_);
    }
    return network_.DecoderLayer(of_decoder, of_decoder == 0 ? network_.EmbedTargets(targets_) : x, targets_, source,
                                 sources_);
  }
  int64_t loss_parts() const override { return (tokens() + kLossTokens - 1) / kLossTokens; }
  at::Tensor Loss(int64_t part, const at::Tensor& x) const override {
    const int64_t first = part * kLossTokens, count = std::min(kLossTokens, tokens() - first);
    const auto next = c10::ArrayRef<int64_t>(next_).slice(static_cast<size_t>(first), static_cast<size_t>(count));
    return network_.Loss(x.narrow(0, first, count), next);
  }

  // All of it at once, without gradients.
  TokenScores Score() const {
    at::Tensor x, source;
    for (int64_t i = 0; i < layers(); ++i) {
      if (i == source_layers()) source = x;
      x = Layer(i, x, source);
    }
    return network_.Score(x, next_);
  }
  int64_t tokens() const { return static_cast<int64_t>(next_.size()); }

 private:
  const formats::T5Config& config() const { return network_.model().config(); }

  const T5Training& network_;
  T5Rows sources_, targets_;
  std::vector<int64_t> next_;  // the token to be written behind each of the targets'
};

}  // namespace

Seq2SeqTask::Seq2SeqTask(std::shared_ptr<const T5Model> model, const TrainOptions& options,
                         std::shared_ptr<const PairData> data, TrainableAdapter adapter)
    : model_(std::move(model)),
      data_(std::move(data)),
      adapter_(std::move(adapter)),
      dropout_(options.seed, model_->device()),
      training_(*model_, HooksOf(adapter_, *model_, options.base_dropout, &dropout_)),
      evaluating_(*model_, HooksOf(adapter_, *model_, 0, nullptr)),
      validation_batches_(EvaluationBatches(data_->validation.lengths(), model_->device().is_cpu(),
                                            adapter_.adapter().virtual_tokens())) {}

int64_t Seq2SeqTask::Terms(const MicroBatch& rows) const {
  int64_t tokens = 0;
  for (const int64_t row : rows) tokens += static_cast<int64_t>(data_->train.targets[static_cast<size_t>(row)].size());
  return tokens;
}

std::unique_ptr<const Segments> Seq2SeqTask::Pass(const MicroBatch& rows) const {
  return std::make_unique<PairSegments>(training_, data_->train, rows, adapter_.adapter().virtual_tokens());
}

std::optional<Metrics> Seq2SeqTask::EvaluationSlice() {
  const at::NoGradGuard no_grad;
  if (next_batch_ == 0) {
    scored_ = 0;
    scores_ = {};
  }
  const PairSegments batch(evaluating_, data_->validation, validation_batches_[next_batch_++],
                           adapter_.adapter().virtual_tokens());
  const TokenScores scores = batch.Score();
  scores_.loss += scores.loss;
  scores_.right += scores.right;
  scored_ += batch.tokens();
  if (next_batch_ < validation_batches_.size()) return std::nullopt;
  next_batch_ = 0;
  const auto tokens = static_cast<double>(scored_);
  return Metrics{{"loss", scores_.loss / tokens}, {"token_accuracy", static_cast<double>(scores_.right) / tokens}};
}

}  // namespace tenon::engine
