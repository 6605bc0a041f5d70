// sentence-transformers' files beside a base. Internal to common/formats.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "common/formats/model_config.h"

namespace tenon::formats {

// modules.json, the pooling module's config.json and sentence_bert_config.json; `defaults` where a file is missing.
// BASE_INVALID, or UNSUPPORTED for another kind of module.
absl::StatusOr<SentenceConfig> ReadSentenceConfig(const std::filesystem::path& folder, const SentenceConfig& defaults);

// Where the pooling module's config.json is, in a folder as published (`1_Pooling/config.json`) or with flat names
// (`1_Pooling_config.json`); empty when there is none.
absl::StatusOr<std::filesystem::path> PoolingConfigPath(const std::filesystem::path& folder);

}  // namespace tenon::formats
