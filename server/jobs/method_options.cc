#include "server/jobs/method_options.h"

#include "common/formats/status.h"
#include "common/tuning_options.h"

namespace tenon::server {
namespace {

// So that an assignment fits into one message of the worker link.
constexpr size_t kMaxOptionBytes = 32 << 10;

// A field of the job that holds one method's options.
struct OptionField {
  v1::Method method;
  const char* name;
};
constexpr OptionField kOptionFields[] = {
    {v1::METHOD_LORA, "lora"}, {v1::METHOD_PROMPT_TUNING, "prompt_tuning"}, {v1::METHOD_BOTTLENECK, "bottleneck"}};

const google::protobuf::FieldDescriptor& Field(const OptionField& field) {
  return *v1::FinetuneJob::descriptor()->FindFieldByName(field.name);
}

void FillLora(v1::LoraOptions& lora) {
  if (!lora.has_r()) lora.set_r(8);
  if (!lora.has_alpha()) lora.set_alpha(16);
  if (!lora.has_dropout()) lora.set_dropout(0);
  if (!lora.has_bias()) lora.set_bias("none");
  if (!lora.has_use_rslora()) lora.set_use_rslora(false);
}

formats::LoraConfig ToLora(const v1::LoraOptions& from, v1::Task task) {
  formats::LoraConfig lora;
  lora.r = from.r();
  lora.alpha = from.alpha();
  lora.dropout = from.dropout();
  lora.use_rslora = from.use_rslora();
  lora.target_modules.assign(from.target_modules().begin(), from.target_modules().end());
  // What stands for them until the base is known.
  if (lora.target_modules.empty()) lora.target_modules = DefaultLoraTargets(task, "");
  lora.rank_pattern.insert(from.rank_pattern().begin(), from.rank_pattern().end());
  lora.alpha_pattern.insert(from.alpha_pattern().begin(), from.alpha_pattern().end());
  return lora;
}

}  // namespace

absl::Status CheckMethod(const v1::FinetuneJob& job) {
  const std::string path = "finetune_job.method";
  if (job.method() == v1::METHOD_UNSPECIFIED) return TenonError(Reason::kFieldRequired, "method is required", path);
  if (!v1::Method_IsValid(job.method())) {
    return TenonError(Reason::kFieldInvalid, "method " + std::to_string(job.method()) + " is not known", path);
  }
  for (const OptionField& field : kOptionFields) {
    const auto* reflection = job.GetReflection();
    if (!reflection->HasField(job, &Field(field))) continue;
    const std::string name = field.name;
    if (job.method() != field.method) {
      return TenonError(Reason::kFieldInvalid, name + " options belong to " + v1::Method_Name(field.method),
                        "finetune_job." + name);
    }
    if (reflection->GetMessage(job, &Field(field)).ByteSizeLong() > kMaxOptionBytes) {
      return TenonError(Reason::kOptionInvalid,
                        name + " options are larger than " + std::to_string(kMaxOptionBytes) + " bytes",
                        "finetune_job." + name);
    }
  }
  return absl::OkStatus();
}

void FillMethodOptions(const v1::FinetuneJob& requested, v1::FinetuneJob& job) {
  switch (job.method()) {
    case v1::METHOD_LORA:
      *job.mutable_lora() = requested.lora();
      FillLora(*job.mutable_lora());
      break;
    case v1::METHOD_PROMPT_TUNING:
      *job.mutable_prompt_tuning() = requested.prompt_tuning();
      FillPromptTuning(*job.mutable_prompt_tuning());
      break;
    case v1::METHOD_BOTTLENECK:
      *job.mutable_bottleneck() = requested.bottleneck();
      FillBottleneck(*job.mutable_bottleneck());
      break;
    default:
      break;
  }
}

void FillTargets(const std::string& model_type, v1::FinetuneJob& job) {
  if (job.method() != v1::METHOD_LORA || !job.lora().target_modules().empty()) return;
  for (const std::string& module : DefaultLoraTargets(job.task(), model_type)) {
    job.mutable_lora()->add_target_modules(module);
  }
}

absl::Status ReadMethodOptions(const v1::FinetuneJob& job, formats::TrainOptions& options) {
  switch (job.method()) {
    case v1::METHOD_LORA:
      if (job.lora().bias() != "none") {
        return TenonError(Reason::kUnsupported, "bias \"" + job.lora().bias() + "\" is not supported; only none is",
                          "bias");
      }
      options.method = formats::Method::kLora;
      options.lora = ToLora(job.lora(), job.task());
      break;
    case v1::METHOD_PROMPT_TUNING: {
      options.method = formats::Method::kPromptTuning;
      ASSIGN_OR_RETURN(options.prompt, ToPromptConfig(job.prompt_tuning()));
      break;
    }
    case v1::METHOD_BOTTLENECK: {
      options.method = formats::Method::kBottleneck;
      ASSIGN_OR_RETURN(options.bottleneck, ToBottleneckConfig(job.bottleneck()));
      break;
    }
    case v1::METHOD_FULL:
      options.method = formats::Method::kFull;
      break;
    default:
      options.method = formats::Method::kHead;
  }
  return absl::OkStatus();
}

std::string OptionPath(const v1::FinetuneJob& job, const std::string& option) {
  for (const OptionField& field : kOptionFields) {
    if (job.method() == field.method && Field(field).message_type()->FindFieldByName(option) != nullptr) {
      return "finetune_job." + std::string(field.name) + "." + option;
    }
  }
  return "finetune_job.training." + option;
}

}  // namespace tenon::server
