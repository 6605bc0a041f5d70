// Files to and from the server: data sets, bases, adapters.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/tenon_client.h"

namespace tenon::client {

// Called with bytes sent so far and in all.
using SendProgress = std::function<void(int64_t sent, int64_t total)>;

struct DatasetUpload {
  std::string dataset_id;
  std::filesystem::path file;  // .jsonl, .csv or .tsv
  bool validate_only = false;
  v1::DatasetKind kind = v1::DATASET_KIND_UNSPECIFIED;  // told by the columns
};
absl::StatusOr<v1::Dataset> UploadDataset(Client& client, const DatasetUpload& upload,
                                          const SendProgress& progress = nullptr);

// The data set that holds `file`, named by its digest, and by its kind where one is asked for: uploaded when it is not
// there yet.
absl::StatusOr<v1::Dataset> EnsureDataset(Client& client, const std::filesystem::path& file,
                                          v1::DatasetKind kind = v1::DATASET_KIND_UNSPECIFIED,
                                          const SendProgress& progress = nullptr);

// The manifest of a base's folder, in the order in which UploadBase sends the files.
struct BaseManifest {
  std::vector<v1::FileEntry> files;
  std::vector<std::filesystem::path> paths;
  std::string digest;
  int64_t size_bytes = 0;
};
absl::StatusOr<BaseManifest> ReadBaseManifest(const std::filesystem::path& folder);

// Makes `base_id` of `folder`: registered in place where the server is on this machine and may read the folder, else
// uploaded. The same files under the same name again are fine; other files are ALREADY_EXISTS.
absl::StatusOr<v1::Base> AddBase(Client& client, const std::string& base_id, const std::filesystem::path& folder,
                                 const SendProgress& progress = nullptr);

struct AdapterImport {
  std::string adapter_id;
  std::string base;
  std::vector<std::string> labels;  // for a folder without tenon.json
  std::filesystem::path folder;     // PEFT's files
  v1::TextTemplate text_template;   // of one that writes, for a folder without tenon.json; its input may be empty
};
absl::StatusOr<v1::Adapter> ImportAdapter(Client& client, const AdapterImport& import);

// Writes the files of `name` into `folder`, which must be empty or not exist; with `merged`, those of its base with the
// adapter merged into it. Names of the files written.
absl::StatusOr<std::vector<std::string>> ExportAdapter(Client& client, const std::string& name,
                                                       const std::filesystem::path& folder, bool merged = false);

}  // namespace tenon::client
