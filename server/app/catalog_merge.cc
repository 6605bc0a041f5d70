#include "server/app/catalog_merge.h"

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/formats/merged_model.h"
#include "common/formats/status.h"
#include "common/ids.h"
#include "server/app/catalog_files.h"
#include "server/catalog/records.h"
#include "tenon/internal/v1/records.pb.h"

namespace tenon::server {
namespace {

constexpr char kPeftConfig[] = "adapter_config.json";
constexpr char kPeftWeights[] = "adapter_model.safetensors";
constexpr char kTenonConfig[] = "tenon.json";
constexpr int64_t kMaxJson = 4 << 20;

absl::StatusOr<std::string> ReadJson(BlobStore& blobs, const ResolvedModel& model, const std::string& name) {
  for (const v1::FileEntry& file : model.adapter_files) {
    if (file.path() == name) return blobs.ReadAll(file.sha256(), kMaxJson);
  }
  return TenonError(Reason::kAdapterInvalid, absl::StrCat("the adapter has no ", name), name);
}

absl::StatusOr<internal::v1::BaseRecord> ReadBaseRecord(Store& store, const std::string& tenant,
                                                        const v1::ModelVersion& version) {
  internal::v1::BaseRecord base;
  RETURN_IF_ERROR(store.Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseName("bases", version.base(), "name"));
    ASSIGN_OR_RETURN(const Record record, GetRecord(snapshot, tenant, kBaseKind, id, "base", "name"));
    ASSIGN_OR_RETURN(base, ParseBody<internal::v1::BaseRecord>(record));
    return absl::OkStatus();
  }));
  if (base.base().digest() == version.base_digest()) return base;
  return TenonError(Reason::kBaseMismatch, "the base was replaced meanwhile", "name");
}

// A base says in files of its own how it pools; these are carried over as they are. What its adapter's head is for they
// cannot say.
absl::Status CheckSayable(const formats::TenonConfig& config, const internal::v1::BaseRecord& base) {
  if (config.sentence_scorer.has_value()) {
    return TenonError(Reason::kUnsupported,
                      "the adapter scores the sentences of a text, which a merged copy could not say of itself",
                      "merged");
  }
  if (config.crf) {
    return TenonError(Reason::kUnsupported,
                      "the adapter chooses a text's tags together (crf), which a merged copy could not do", "merged");
  }
  if (config.task != "feature_extraction") return absl::OkStatus();
  const formats::Pooling pooling = base.pooling() == v1::POOLING_CLS   ? formats::Pooling::kCls
                                   : base.pooling() == v1::POOLING_MAX ? formats::Pooling::kMax
                                                                       : formats::Pooling::kMean;
  if (config.pooling == pooling && config.normalize == base.normalize()) return absl::OkStatus();
  return TenonError(Reason::kUnsupported,
                    "the adapter pools its sentence vectors in another way than its base, which a merged copy could "
                    "not say",
                    "merged");
}

// Puts one file of the adapter where it can be mapped.
absl::Status Stage(BlobStore& blobs, const v1::FileEntry& file, const CallScope& scope, StagedFolder* folder) {
  RETURN_IF_ERROR(folder->Start(file.path()));
  RETURN_IF_ERROR(blobs.Read(file.sha256(), [&](const std::string& piece) {
    if (scope.cancelled && scope.cancelled()) return TenonError(Reason::kCancelled, "the client is gone");
    return folder->Append(piece.data(), piece.size());
  }));
  return folder->Finish();
}

}  // namespace

absl::Status ExportMerged(Store& store, BlobStore& blobs, const std::filesystem::path& staging, const CallScope& scope,
                          const ResolvedModel& model,
                          const std::function<bool(const v1::ExportAdapterResponse&)>& write) {
  formats::MergeInput input;
  ASSIGN_OR_RETURN(const std::string tenon, ReadJson(blobs, model, kTenonConfig));
  ASSIGN_OR_RETURN(input.tenon, formats::ParseTenonConfig(tenon));
  RETURN_IF_ERROR(formats::CheckMergeable(input.tenon.method));
  ASSIGN_OR_RETURN(const auto base, ReadBaseRecord(store, scope.tenant, model.version));
  RETURN_IF_ERROR(CheckSayable(input.tenon, base));
  ASSIGN_OR_RETURN(const std::string lora, ReadJson(blobs, model, kPeftConfig));
  ASSIGN_OR_RETURN(input.lora, formats::ParseLoraConfig(lora));

  ASSIGN_OR_RETURN(const auto folder, StagedFolder::Create(staging));
  for (const v1::FileEntry& file : model.adapter_files) {
    if (file.path() == kPeftWeights) RETURN_IF_ERROR(Stage(blobs, file, scope, folder.get()));
  }
  ASSIGN_OR_RETURN(input.weights,
                   formats::Safetensors::Open(folder->path() / kPeftWeights, formats::Safetensors::Limits()));
  std::map<std::string, std::string> digests;
  for (const v1::FileEntry& file : base.base().files()) {
    input.base.push_back({file.path(), file.size_bytes()});
    digests[file.path()] = file.sha256();
  }
  input.read = [&](const std::string& name, const formats::PieceSink& sink) {
    return blobs.Read(digests.at(name), [&](const std::string& piece) {
      // Also where pieces are read that nobody is to get.
      if (scope.cancelled && scope.cancelled()) return TenonError(Reason::kCancelled, "the client is gone");
      return sink(piece);
    });
  };
  v1::ExportAdapterResponse response;
  return formats::MergeModel(input, [&](const std::string& file, const std::string& piece) {
    response.mutable_file()->set_path(file);
    response.mutable_file()->set_data(piece);
    return write(response) ? absl::OkStatus() : TenonError(Reason::kCancelled, "the client is gone");
  });
}

}  // namespace tenon::server
