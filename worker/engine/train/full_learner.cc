#include "worker/engine/train/full_learner.h"

#include <utility>

#include "common/formats/status.h"
#include "worker/engine/train/adapter_learner.h"
#include "worker/engine/train/classification_task.h"
#include "worker/engine/train/full_encoder.h"
#include "worker/engine/train/full_export.h"
#include "worker/engine/train/full_t5.h"
#include "worker/engine/train/seq2seq_task.h"
#include "worker/engine/train/span_task.h"

namespace tenon::engine {
namespace {

// The steps are those of any adapter in a network; here the network is made of the adapter's own weights.
class FullLearner final : public AdapterLearner {
 public:
  FullLearner(std::shared_ptr<const Base> base, const TrainOptions& options, std::unique_ptr<AdapterTask> task)
      : AdapterLearner(options, std::move(task)), base_(std::move(base)) {}

  absl::Status Write(const std::filesystem::path& folder, const AdapterTensors& best) const override {
    return WriteFullModel(folder, *base_, best);
  }

 private:
  const std::shared_ptr<const Base> base_;
};

// An encoder, all of whose weights are trained for `Task`.
template <typename Task, typename Data>
absl::StatusOr<std::unique_ptr<Learner>> NewEncoderLearner(std::shared_ptr<const Base> base,
                                                           const TrainOptions& options,
                                                           std::shared_ptr<const Data> data,
                                                           const formats::TenonConfig& config,
                                                           const AdapterTensors* initial) {
  ASSIGN_OR_RETURN(AdapterTensors weights, CopyEncoder(*base, config, options.seed));
  ASSIGN_OR_RETURN(std::shared_ptr<const Encoder> frozen, base->encoder(base->precision()));
  ASSIGN_OR_RETURN(TrainableAdapter model, TrainableAdapter::MakeWhole(std::move(weights), *frozen, initial));
  auto encoder = std::make_shared<const FullEncoder>(base->config(), model.adapter().modules);
  auto task = std::make_unique<Task>(std::move(encoder), options, std::move(data), std::move(model));
  return std::make_unique<FullLearner>(std::move(base), options, std::move(task));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Learner>> NewFullLearner(std::shared_ptr<const Base> base, const TrainOptions& options,
                                                        std::shared_ptr<const TokenData> data,
                                                        const formats::TenonConfig& config,
                                                        const AdapterTensors* initial) {
  return NewEncoderLearner<ClassificationTask>(std::move(base), options, std::move(data), config, initial);
}

absl::StatusOr<std::unique_ptr<Learner>> NewFullLearner(std::shared_ptr<const Base> base, const TrainOptions& options,
                                                        std::shared_ptr<const SpanData> data,
                                                        const formats::TenonConfig& config,
                                                        const AdapterTensors* initial) {
  return NewEncoderLearner<SpanTask>(std::move(base), options, std::move(data), config, initial);
}

absl::StatusOr<std::unique_ptr<Learner>> NewFullLearner(std::shared_ptr<const Base> base, const TrainOptions& options,
                                                        std::shared_ptr<const PairData> data,
                                                        const formats::TenonConfig& config,
                                                        const AdapterTensors* initial) {
  ASSIGN_OR_RETURN(std::shared_ptr<const T5Model> network, CopyT5(*base));
  AdapterTensors weights{.config = config, .modules = T5Modules(*network)};
  ASSIGN_OR_RETURN(TrainableAdapter model, TrainableAdapter::MakeWhole(std::move(weights), *network, initial));
  auto task = std::make_unique<Seq2SeqTask>(std::move(network), options, std::move(data), std::move(model));
  return std::make_unique<FullLearner>(std::move(base), options, std::move(task));
}

}  // namespace tenon::engine
