#include "worker/engine/train/network.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>

#include <utility>

namespace tenon::engine {
namespace {

class ClassifierSegments final : public Segments {
 public:
  ClassifierSegments(const Network& network, PackedBatch batch, Targets targets)
      : network_(network), batch_(std::move(batch)), targets_(std::move(targets)) {}

  int64_t layers() const override { return network_.layers(); }
  at::Tensor Layer(int64_t index, const at::Tensor& x, const at::Tensor& /*source*/) const override {
    return network_.Layer(index, index == 0 ? network_.Embed(batch_) : x, batch_);
  }
  at::Tensor Loss(int64_t /*part*/, const at::Tensor& x) const override { return SumLoss(network_.Head(x), targets_); }

 private:
  const Network& network_;
  const PackedBatch batch_;
  const Targets targets_;
};

}  // namespace

PackedBatch PackRows(const TokenRows& data, const MicroBatch& rows, const at::Device& device, int64_t virtual_tokens) {
  std::vector<const std::vector<int32_t>*> ids;
  std::vector<int64_t> second_types;
  for (const int64_t row : rows) {
    ids.push_back(&data.ids[row]);
    second_types.push_back(data.second_types[row]);
  }
  return Pack(ids, device, /*round_to=*/1, /*grouped=*/true, std::vector<int64_t>(ids.size(), virtual_tokens),
              second_types);
}

Targets PickTargets(const TokenRows& data, const MicroBatch& rows, Problem problem) {
  Targets targets{.problem = problem};
  for (const int64_t row : rows) {
    if (problem == Problem::kRegression) {
      targets.values.push_back(data.values[row]);
    } else {
      targets.labels.push_back(data.labels[row]);
    }
  }
  return targets;
}

DropoutRates ResolveDropout(const formats::EncoderConfig& config, double base_dropout, formats::HeadKind head) {
  if (base_dropout >= 0) return {base_dropout, base_dropout, base_dropout};
  double classifier = config.classifier_dropout >= 0 ? config.classifier_dropout : config.hidden_dropout_prob;
  if (head == formats::HeadKind::kTokens && config.token_dropout >= 0) classifier = config.token_dropout;
  if (head == formats::HeadKind::kAnswers) classifier = config.answer_dropout;
  return {config.hidden_dropout_prob, config.attention_probs_dropout_prob, classifier};
}

Network::Network(const EncoderLayers& encoder, const TrainableAdapter& adapter, const DropoutRates& rates,
                 JobDropout* dropout)
    : encoder_(encoder),
      adapter_(adapter),
      kind_(formats::HeadOfTask(adapter.adapter().config.task)),
      rates_(rates),
      dropout_(dropout),
      hooks_(adapter.Hooks(dropout, encoder.device())) {
  if (dropout == nullptr) return;
  hooks_.hidden_dropout = rates.hidden;
  hooks_.attention_dropout = rates.attention;
}

at::Tensor Network::Embed(const PackedBatch& batch) const {
  const at::Tensor x = encoder_.Embed(batch, hooks_);
  return hooks_.fused != nullptr ? x.to(at::kFloat) : x;
}

at::Tensor Network::Head(const at::Tensor& states) const {
  const SavedModule& head = adapter_.head();
  if (kind_ != formats::HeadKind::kSequence) {
    const at::Tensor wide = states.to(at::kFloat);
    return at::linear(dropout_ != nullptr ? (*dropout_)(wide, rates_.classifier) : wide, head.weight, head.bias);
  }
  at::Tensor first = states;
  if (dropout_ != nullptr && encoder_.config().family->head.drops_input) first = (*dropout_)(first, rates_.classifier);
  at::Tensor pooled = encoder_.Pool(first, hooks_).to(at::kFloat);
  if (dropout_ != nullptr) pooled = (*dropout_)(pooled, rates_.classifier);
  return at::linear(pooled, head.weight, head.bias);
}

std::unique_ptr<const Segments> Network::Pass(PackedBatch batch, Targets targets) const {
  return std::make_unique<ClassifierSegments>(*this, std::move(batch), std::move(targets));
}

at::Tensor Network::Logits(const PackedBatch& batch) const {
  const at::NoGradGuard no_grad;
  at::Tensor x = Embed(batch);
  for (int64_t i = 0; i < layers(); ++i) x = Layer(i, x, batch);
  return Head(x);
}

}  // namespace tenon::engine
