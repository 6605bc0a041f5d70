#include "client/uploads.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/formats/dataset.h"
#include "common/formats/model_config.h"
#include "common/formats/status.h"

namespace tenon::client {
namespace {

namespace fs = std::filesystem;
constexpr size_t kChunkBytes = 1 << 20;

v1::DatasetFormat ToProto(formats::DatasetFormat format) {
  switch (format) {
    case formats::DatasetFormat::kJsonLines:
      return v1::DATASET_FORMAT_JSONL;
    case formats::DatasetFormat::kCsv:
      return v1::DATASET_FORMAT_CSV;
    case formats::DatasetFormat::kTsv:
      return v1::DATASET_FORMAT_TSV;
  }
  return v1::DATASET_FORMAT_UNSPECIFIED;
}

absl::StatusOr<int64_t> FileSize(const fs::path& file) {
  std::error_code error;
  const auto size = fs::file_size(file, error);
  if (error) return absl::NotFoundError(absl::StrCat("Cannot read ", file.string(), ": ", error.message(), "."));
  return static_cast<int64_t>(size);
}

// Hands a file's bytes to `send` in chunks of at most 1 MiB. Stops early, without an error, when `send` returns false:
// the call is over and its status says why.
absl::Status SendFile(const fs::path& file, const std::function<bool(std::string)>& send) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("Cannot open ", file.string(), "."));
  std::string chunk;
  do {
    chunk.resize(kChunkBytes);
    in.read(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    chunk.resize(static_cast<size_t>(in.gcount()));
    if (!chunk.empty() && !send(std::move(chunk))) return absl::OkStatus();
    chunk.clear();
  } while (in);
  return in.bad() ? absl::DataLossError(absl::StrCat("Cannot read ", file.string(), ".")) : absl::OkStatus();
}

// Ends a client stream: our own error cancels the call, otherwise the server's answer counts.
template <typename Writer>
absl::Status Finish(Client& client, Client::Context& context, Writer& writer, const absl::Status& sent) {
  if (!sent.ok()) context.get()->TryCancel();
  writer.WritesDone();
  const grpc::Status status = writer.Finish();
  return sent.ok() ? client.Decode(status) : sent;
}

}  // namespace

absl::StatusOr<v1::Dataset> UploadDataset(Client& client, const DatasetUpload& upload, const SendProgress& progress) {
  ASSIGN_OR_RETURN(const formats::DatasetFormat format,
                   formats::DatasetFormatFromName(upload.file.filename().string()));
  ASSIGN_OR_RETURN(const int64_t total, FileSize(upload.file));
  Client::Context context(client, absl::InfiniteDuration());
  v1::UploadDatasetResponse response;
  auto writer = client.datasets().UploadDataset(context.get(), &response);
  v1::UploadDatasetRequest request;
  request.mutable_header()->set_dataset_id(upload.dataset_id);
  request.mutable_header()->set_format(ToProto(format));
  request.mutable_header()->set_validate_only(upload.validate_only);
  request.mutable_header()->set_kind(upload.kind);
  absl::Status sent;
  if (writer->Write(request)) {
    int64_t bytes = 0;
    sent = SendFile(upload.file, [&](std::string chunk) {
      bytes += static_cast<int64_t>(chunk.size());
      request.set_chunk(std::move(chunk));
      const bool alive = writer->Write(request);
      if (progress) progress(bytes, total);
      return alive;
    });
  }
  RETURN_IF_ERROR(Finish(client, context, *writer, sent));
  return response.dataset();
}

absl::StatusOr<v1::Dataset> EnsureDataset(Client& client, const fs::path& file, v1::DatasetKind kind,
                                          const SendProgress& progress) {
  ASSIGN_OR_RETURN(const std::string digest, Sha256File(file));
  // The format is part of the name: the same bytes read as CSV and as TSV are two data sets. So is a kind.
  ASSIGN_OR_RETURN(const formats::DatasetFormat format, formats::DatasetFormatFromName(file.filename().string()));
  const char* prefix = format == formats::DatasetFormat::kJsonLines ? "jsonl-"
                       : format == formats::DatasetFormat::kCsv     ? "csv-"
                                                                    : "tsv-";
  std::string id = prefix + digest.substr(0, 32);
  if (kind != v1::DATASET_KIND_UNSPECIFIED) {
    const std::string word = v1::DatasetKind_Name(kind).substr(std::string("DATASET_KIND_").size());
    id = absl::StrCat(absl::AsciiStrToLower(word), "-", id);
  }
  v1::GetDatasetRequest get;
  get.set_name("datasets/" + id);
  absl::StatusOr<v1::Dataset> stored = client.Call(client.datasets(), &v1::DatasetService::Stub::GetDataset, get);
  if (stored.ok() || !absl::IsNotFound(stored.status())) return stored;
  return UploadDataset(client, {.dataset_id = id, .file = file, .kind = kind}, progress);
}

absl::StatusOr<BaseManifest> ReadBaseManifest(const fs::path& folder) {
  ASSIGN_OR_RETURN(const auto files, formats::BaseFiles(folder));
  BaseManifest manifest;
  std::vector<std::string> digests;
  for (const auto& [name, path] : files) {
    v1::FileEntry entry;
    entry.set_path(name);
    ASSIGN_OR_RETURN(const int64_t size, FileSize(path));
    entry.set_size_bytes(size);
    ASSIGN_OR_RETURN(*entry.mutable_sha256(), Sha256File(path));
    manifest.size_bytes += size;
    digests.push_back(entry.sha256());
    manifest.files.push_back(std::move(entry));
    manifest.paths.push_back(path);
  }
  manifest.digest = ManifestDigest(std::move(digests));
  return manifest;
}

namespace {

absl::StatusOr<v1::Base> UploadBase(Client& client, const std::string& base_id, const BaseManifest& manifest,
                                    const SendProgress& progress) {
  Client::Context context(client, absl::InfiniteDuration());
  v1::Base base;
  auto writer = client.catalog().UploadBase(context.get(), &base);
  v1::UploadBaseRequest request;
  request.mutable_header()->set_base_id(base_id);
  for (const v1::FileEntry& file : manifest.files) *request.mutable_header()->add_files() = file;
  bool alive = writer->Write(request);
  int64_t bytes = 0;
  absl::Status sent;
  for (size_t i = 0; alive && sent.ok() && i < manifest.paths.size(); ++i) {
    sent = SendFile(manifest.paths[i], [&](std::string chunk) {
      bytes += static_cast<int64_t>(chunk.size());
      request.set_chunk(std::move(chunk));
      alive = writer->Write(request);
      if (progress) progress(bytes, manifest.size_bytes);
      return alive;
    });
  }
  RETURN_IF_ERROR(Finish(client, context, *writer, sent));
  return base;
}

}  // namespace

absl::StatusOr<v1::Base> AddBase(Client& client, const std::string& base_id, const fs::path& folder,
                                 const SendProgress& progress) {
  std::error_code error;
  const fs::path absolute = fs::canonical(folder, error);
  if (error) return absl::NotFoundError(absl::StrCat("No folder ", folder.string(), ": ", error.message(), "."));
  ASSIGN_OR_RETURN(const BaseManifest manifest, ReadBaseManifest(absolute));
  v1::GetBaseRequest get;
  get.set_name("bases/" + base_id);
  absl::StatusOr<v1::Base> stored = client.Call(client.catalog(), &v1::CatalogService::Stub::GetBase, get);
  if (stored.ok()) {
    if (stored->digest() == manifest.digest) return stored;
    return TenonError(Reason::kAlreadyExists,
                      absl::StrCat("Base ", base_id, " exists with other files: digest ", stored->digest(), ", not ",
                                   manifest.digest, "."),
                      "base_id");
  }
  if (!absl::IsNotFound(stored.status())) return stored.status();
  if (client.IsLoopback()) {
    v1::RegisterBaseRequest request;
    request.set_base_id(base_id);
    request.set_folder(absolute.string());
    absl::StatusOr<v1::Base> base = client.Call(client.catalog(), &v1::CatalogService::Stub::RegisterBase, request);
    // Not below --bases-root, or a forwarded port with another machine behind it: then the bytes have to travel.
    const bool elsewhere = absl::IsPermissionDenied(base.status()) || absl::IsNotFound(base.status()) ||
                           GetField(base.status()) == "folder";
    if (base.ok() || !elsewhere) return base;
  }
  return UploadBase(client, base_id, manifest, progress);
}

absl::StatusOr<v1::Adapter> ImportAdapter(Client& client, const AdapterImport& import) {
  std::error_code error;
  std::vector<fs::path> files;
  std::string pickle;
  bool weights = false;
  for (const fs::directory_entry& entry : fs::directory_iterator(import.folder, error)) {
    const std::string name = entry.path().filename().string();
    // What PEFT, AdapterHub and Tenon write; a model card or a training log beside them stays here.
    for (const char* known : {"adapter_config.json", "adapter_model.safetensors", "adapter.safetensors",
                              "head_config.json", "model_head.safetensors", "tenon.json", "head.safetensors"}) {
      if (name == known && entry.is_regular_file()) files.push_back(entry.path());
    }
    weights = weights || absl::EndsWith(name, ".safetensors");
    if (name == "adapter_model.bin" || name == "pytorch_adapter.bin") pickle = name;
  }
  if (!pickle.empty() && !weights) {
    return TenonError(Reason::kUnsupported,
                      absl::StrCat(pickle, " is a pickle, which is never read: save it as safetensors."), pickle);
  }
  if (error)
    return absl::NotFoundError(absl::StrCat("Cannot read ", import.folder.string(), ": ", error.message(), "."));
  if (files.empty()) {
    return TenonError(Reason::kAdapterInvalid,
                      absl::StrCat("No adapter in ", import.folder.string(),
                                   ": adapter_config.json and adapter_model.safetensors are missing."));
  }
  std::sort(files.begin(), files.end());
  Client::Context context(client, absl::InfiniteDuration());
  v1::Adapter adapter;
  auto writer = client.catalog().ImportAdapter(context.get(), &adapter);
  v1::ImportAdapterRequest request;
  request.mutable_header()->set_adapter_id(import.adapter_id);
  request.mutable_header()->set_base(import.base);
  for (const std::string& label : import.labels) request.mutable_header()->add_labels(label);
  if (!import.text_template.input().empty() || !import.text_template.target().empty()) {
    *request.mutable_header()->mutable_text_template() = import.text_template;
  }
  bool alive = writer->Write(request);
  absl::Status sent;
  for (size_t i = 0; alive && sent.ok() && i < files.size(); ++i) {
    request.mutable_file()->set_path(files[i].filename().string());
    sent = SendFile(files[i], [&](std::string chunk) {
      request.mutable_file()->set_data(std::move(chunk));
      return alive = writer->Write(request);
    });
  }
  RETURN_IF_ERROR(Finish(client, context, *writer, sent));
  return adapter;
}

absl::StatusOr<std::vector<std::string>> ExportAdapter(Client& client, const std::string& name, const fs::path& folder,
                                                       bool merged) {
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_empty(folder, error)) {
    return absl::AlreadyExistsError(absl::StrCat(folder.string(), " is not empty."));
  }
  const bool made = fs::create_directories(folder, error);
  if (error)
    return absl::InvalidArgumentError(absl::StrCat("Cannot make ", folder.string(), ": ", error.message(), "."));
  Client::Context context(client, absl::InfiniteDuration());
  v1::ExportAdapterRequest request;
  request.set_name(name);
  request.set_merged(merged);
  auto reader = client.catalog().ExportAdapter(context.get(), request);
  std::vector<std::string> names;
  absl::Status wrote;
  std::ofstream out;
  v1::ExportAdapterResponse part;
  while (wrote.ok() && reader->Read(&part)) {
    const std::string& path = part.file().path();
    // The server names the files, the user the folder: a name must not lead out of it.
    if (path.empty() || path == "." || path == ".." || path.find('/') != std::string::npos) {
      wrote = absl::DataLossError(absl::StrCat("The server named a file '", path, "'."));
    } else {
      if (names.empty() || names.back() != path) {
        out.close();
        out.open(folder / path, std::ios::binary | std::ios::trunc);
        names.push_back(path);
      }
      out.write(part.file().data().data(), static_cast<std::streamsize>(part.file().data().size()));
      if (!out.flush()) wrote = absl::DataLossError(absl::StrCat("Cannot write ", (folder / path).string(), "."));
    }
  }
  if (!wrote.ok()) context.get()->TryCancel();
  absl::Status ended = client.Decode(reader->Finish());
  if (!wrote.ok()) ended = wrote;
  if (ended.ok()) return names;
  // Nothing half-written stays behind, nor the folder made for it.
  out.close();
  for (const std::string& file : names) fs::remove(folder / file, error);
  if (made) fs::remove(folder, error);
  return ended;
}

}  // namespace tenon::client
