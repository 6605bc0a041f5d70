// What a run writes into a checkpoint and takes from it.
#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "worker/engine/checkpoint/checkpoint.h"
#include "worker/engine/model/torch_util.h"
#include "worker/engine/train/train_loop.h"

namespace tenon::engine {
namespace {

// Copies every tensor of `from` over the one of the same name; the names and shapes must be the same.
absl::Status CopyInto(const NamedTensors& from, const NamedTensors& to, const std::string& what) {
  const auto refuse = [&](const std::string& name) {
    return TenonError(Reason::kAdapterInvalid, absl::StrCat("the checkpoint's ", what, " do not fit at ", name), name);
  };
  if (from.size() != to.size()) return refuse("their number");
  for (const auto& [name, target] : to) {
    const auto found = from.find(name);
    if (found == from.end() || found->second.sizes() != target.sizes()) return refuse(name);
    target.detach().copy_(found->second);
  }
  return absl::OkStatus();
}

NamedTensors Weights(const std::vector<Parameter>& parameters) {
  NamedTensors weights;
  for (const Parameter& parameter : parameters) weights[parameter.name] = parameter.value.detach();
  return weights;
}

}  // namespace

absl::Status TrainLoop::SaveCheckpoint(const std::filesystem::path& folder) {
  return Guarded([&]() -> absl::Status {
    const std::vector<Parameter>& parameters = learner_->adapter().parameters();
    Checkpoint checkpoint{.step = step_,
                          .total_steps = total_steps(),
                          .seed = options_.seed,
                          .evaluated_step = evaluated_step_,
                          .best_step = best_.best_step(),
                          .best_value = best_.best_value(),
                          .worse_evaluations = best_.worse(),
                          .trained_tokens = trained_tokens_,
                          .machine = ThisMachine(parameters.front().value.device(), options_.precision),
                          .weights = Weights(parameters),
                          .best = best_weights_};
    for (size_t i = 0; i < parameters.size(); ++i) {
      checkpoint.first_moments[parameters[i].name] = optimizer_.moments()[i].first;
      checkpoint.second_moments[parameters[i].name] = optimizer_.moments()[i].second;
    }
    return WriteCheckpoint(folder, checkpoint);
  });
}

absl::Status TrainLoop::Restore(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, ReadCheckpoint(folder));
  if (checkpoint.seed != options_.seed || checkpoint.total_steps != total_steps() || checkpoint.step > total_steps()) {
    return TenonError(
        Reason::kAdapterInvalid,
        absl::StrCat("the checkpoint is of another run: step ", checkpoint.step, " of ", checkpoint.total_steps,
                     ", seed ", checkpoint.seed, "; this one has ", total_steps(), " steps and seed ", options_.seed),
        "checkpoint");
  }
  std::vector<Parameter>& parameters = learner_->adapter().parameters();
  NamedTensors first, second;
  for (size_t i = 0; i < parameters.size(); ++i) {
    first[parameters[i].name] = optimizer_.moments()[i].first;
    second[parameters[i].name] = optimizer_.moments()[i].second;
  }
  RETURN_IF_ERROR(CopyInto(checkpoint.weights, Weights(parameters), "weights"));
  RETURN_IF_ERROR(CopyInto(checkpoint.first_moments, first, "first moments"));
  RETURN_IF_ERROR(CopyInto(checkpoint.second_moments, second, "second moments"));
  if (checkpoint.best_step > 0) {
    for (const auto& [name, value] : Weights(parameters)) best_weights_[name] = value.clone();
    RETURN_IF_ERROR(CopyInto(checkpoint.best, best_weights_, "best weights"));
  }
  best_.Restore(checkpoint.best_step, checkpoint.best_value, checkpoint.worse_evaluations);
  step_ = checkpoint.step;
  evaluated_step_ = checkpoint.evaluated_step;
  trained_tokens_ = checkpoint.trained_tokens;
  const Machine here = ThisMachine(parameters.front().value.device(), options_.precision);
  if (here != checkpoint.machine) {
    notice_ = absl::StrCat("The checkpoint was made on ", checkpoint.machine.ToString(), " and goes on on ",
                           here.ToString(), ": the result may differ in its last bits from that of an unbroken run.");
  }
  if (step_ > 0) baseline_.reset();  // was reported already
  return absl::OkStatus();
}

}  // namespace tenon::engine
