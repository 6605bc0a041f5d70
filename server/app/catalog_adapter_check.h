// Whether a folder is an adapter, as far as its files say without a base or a worker.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/app/catalog_files.h"
#include "tenon/v1/types.pb.h"

namespace tenon::server {

// What an adapter's files say.
struct AdapterFacts {
  v1::Task task = v1::TASK_UNSPECIFIED;
  v1::Method method = v1::METHOD_UNSPECIFIED;
  std::vector<std::string> labels;  // in index order
  bool multi_label = false;
  bool regression = false;
  std::optional<v1::TextTemplate> text_template;
};

// What whoever imports the adapter says of it, where its files do not.
struct AdapterHints {
  std::vector<std::string> labels;
  std::optional<v1::TextTemplate> text_template;
};

// Of the base that the adapter is imported for.
struct AdapterBase {
  std::string digest;
  std::string model_type;
  v1::Pooling pooling = v1::POOLING_MEAN;
  bool normalize = false;
};

// Bytes that one of an adapter's files may have; ADAPTER_INVALID for a name that an adapter does not have. README.md is
// allowed, and not kept.
absl::StatusOr<int64_t> AdapterFileLimit(const std::string& name);

// Checks a staged adapter: PEFT's two files, AdapterHub's two or four, or tenon.json and head.safetensors; labels agree
// with the head's rows.
// Without tenon.json one is written, with the hints' labels or LABEL_0, LABEL_1, ..., and their template; a head of one
// output is a regression then, as transformers has it.
// ADAPTER_INVALID, SAFETENSORS_INVALID, UNSUPPORTED, BASE_MISMATCH (tenon.json names another base), FIELD_INVALID
// (labels, template).
absl::StatusOr<AdapterFacts> CheckStagedAdapter(StagedFolder* folder, const AdapterBase& base,
                                                const AdapterHints& hints);

}  // namespace tenon::server
