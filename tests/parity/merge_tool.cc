// A LoRA merged into its base, for tests/parity/merge_test.py.
//
//   tenon-merge-tool BASE ADAPTER OUT [LABEL...]   writes the merged model into the folder OUT, which is there
//
// An error goes to stderr as `REASON field: message`, and the exit code is 1.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "common/formats/files.h"
#include "common/formats/merged_model.h"
#include "common/formats/model_config.h"
#include "common/formats/status.h"

namespace {

using tenon::GetField;
using tenon::GetReason;
using tenon::ReasonName;
namespace formats = tenon::formats;
namespace fs = std::filesystem;

absl::Status ReadPieces(const fs::path& file, const formats::PieceSink& sink) {
  std::ifstream in(file, std::ios::binary);
  std::string piece(100'003, '\0');
  while (in) {
    in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    if (in.gcount() > 0) RETURN_IF_ERROR(sink(piece.substr(0, static_cast<size_t>(in.gcount()))));
  }
  return absl::OkStatus();
}

absl::Status Merge(const fs::path& base, const fs::path& adapter, const fs::path& out,
                   std::vector<std::string> labels) {
  formats::MergeInput input;
  input.tenon.method = "lora";
  input.tenon.task = labels.empty() ? "feature_extraction" : "sequence_classification";
  input.tenon.labels = std::move(labels);
  ASSIGN_OR_RETURN(const std::string config,
                   formats::ReadFile(adapter / "adapter_config.json", 1 << 20, tenon::Reason::kAdapterInvalid));
  ASSIGN_OR_RETURN(input.lora, formats::ParseLoraConfig(config));
  ASSIGN_OR_RETURN(input.weights,
                   formats::Safetensors::Open(adapter / "adapter_model.safetensors", formats::Safetensors::Limits()));
  ASSIGN_OR_RETURN(const auto files, formats::BaseFiles(base));
  std::map<std::string, fs::path> paths(files.begin(), files.end());
  for (const auto& [name, path] : files) {
    input.base.push_back({name, static_cast<int64_t>(fs::file_size(path))});
  }
  input.read = [&](const std::string& name, const formats::PieceSink& sink) {
    return ReadPieces(paths.at(name), sink);
  };
  return formats::MergeModel(input, [&](const std::string& file, const std::string& piece) {
    std::ofstream(out / file, std::ios::binary | std::ios::app) << piece;
    return absl::OkStatus();
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const absl::Status status = Merge(argv[1], argv[2], argv[3], {argv + 4, argv + argc});
  if (status.ok()) return 0;
  std::cerr << ReasonName(GetReason(status)) << ' ' << GetField(status) << ": " << status.message() << '\n';
  return 1;
}
