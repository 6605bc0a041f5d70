#include "worker/engine/train/full_learner.h"

#include <utility>

#include "common/formats/status.h"
#include "worker/engine/model/torch_util.h"
#include "worker/engine/train/adapter_learner.h"
#include "worker/engine/train/full_bert.h"
#include "worker/engine/train/full_export.h"

namespace tenon::engine {
namespace {

// The steps are those of any adapter in an encoder; here the encoder is made of the adapter's own weights.
class FullLearner final : public AdapterLearner {
 public:
  FullLearner(std::shared_ptr<const Base> base, std::shared_ptr<const EncoderLayers> encoder,
              const TrainOptions& options, std::shared_ptr<const TokenData> data, TrainableAdapter model)
      : AdapterLearner(std::move(encoder), options, std::move(data), std::move(model)), base_(std::move(base)) {}

  absl::Status Write(const std::filesystem::path& folder, const AdapterTensors& best) const override {
    return WriteFullModel(folder, *base_, best);
  }

 private:
  const std::shared_ptr<const Base> base_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Learner>> NewFullLearner(std::shared_ptr<const Base> base, const TrainOptions& options,
                                                        std::shared_ptr<const TokenData> data,
                                                        const formats::TenonConfig& config,
                                                        const AdapterTensors* initial) {
  ASSIGN_OR_RETURN(AdapterTensors weights, CopyBert(*base, config, options.seed));
  ASSIGN_OR_RETURN(TrainableAdapter model,
                   TrainableAdapter::MakeWhole(std::move(weights), base->config().num_hidden_layers,
                                               TorchDevice(base->device()), initial));
  auto encoder = std::make_shared<const FullBert>(base->config(), model.adapter().modules);
  return std::make_unique<FullLearner>(std::move(base), std::move(encoder), options, std::move(data), std::move(model));
}

}  // namespace tenon::engine
