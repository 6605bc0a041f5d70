#include "client/uploads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/formats/status.h"
#include "tests/client/in_process_server.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::client {
namespace {

namespace fs = std::filesystem;

std::string ReadAll(const fs::path& file) {
  std::ostringstream bytes;
  bytes << std::ifstream(file, std::ios::binary).rdbuf();
  return bytes.str();
}

// Keeps what is uploaded, by id.
class MemoryDatasets final : public v1::DatasetService::Service {
 public:
  grpc::Status UploadDataset(grpc::ServerContext*, grpc::ServerReader<v1::UploadDatasetRequest>* reader,
                             v1::UploadDatasetResponse* response) override {
    v1::UploadDatasetRequest request;
    reader->Read(&request);
    header = request.header();
    if (!refuse.ok()) return ToGrpcStatus(refuse);
    std::string bytes;
    while (reader->Read(&request)) {
      largest_chunk = std::max(largest_chunk, request.chunk().size());
      bytes += request.chunk();
    }
    ++uploads;
    response->mutable_dataset()->set_name("datasets/" + header.dataset_id());
    response->mutable_dataset()->set_sha256(Sha256Hex(bytes));
    if (!header.validate_only()) stored[response->dataset().name()] = response->dataset();
    return grpc::Status::OK;
  }
  grpc::Status GetDataset(grpc::ServerContext*, const v1::GetDatasetRequest* request, v1::Dataset* dataset) override {
    const auto found = stored.find(request->name());
    if (found == stored.end()) return ToGrpcStatus(TenonError(Reason::kNotFound, "There is no such data set.", "name"));
    *dataset = found->second;
    return grpc::Status::OK;
  }

  v1::UploadDatasetRequest::Header header;
  absl::Status refuse;
  size_t largest_chunk = 0;
  int uploads = 0;
  std::map<std::string, v1::Dataset> stored;
};

TEST(UploadDataset, SendsTheBytesInChunks) {
  MemoryDatasets datasets;
  InProcessServer server({&datasets});
  Client client({.server = server.address()});
  test::TempFolder folder;
  std::string bytes(3'000'000, 'x');
  bytes[1'234'567] = '\n';
  int64_t last_sent = 0;
  const auto dataset = UploadDataset(client, {.dataset_id = "d", .file = folder.Write("d.tsv", bytes)},
                                     [&](int64_t sent, int64_t total) {
                                       EXPECT_GT(sent, last_sent);
                                       EXPECT_EQ(total, 3'000'000);
                                       last_sent = sent;
                                     });
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->sha256(), Sha256Hex(bytes));
  EXPECT_EQ(datasets.header.format(), v1::DATASET_FORMAT_TSV);
  EXPECT_LE(datasets.largest_chunk, 1u << 20);
  EXPECT_EQ(last_sent, 3'000'000);
}

TEST(UploadDataset, AnEarlyRefusalIsTheAnswer) {
  MemoryDatasets datasets;
  datasets.refuse = TenonError(Reason::kDatasetInvalid, "Row 7 has no `label`.", "row 7, label");
  InProcessServer server({&datasets});
  Client client({.server = server.address()});
  test::TempFolder folder;
  const auto dataset =
      UploadDataset(client, {.dataset_id = "d", .file = folder.Write("d.jsonl", std::string(20'000'000, 'x'))});
  EXPECT_EQ(GetReason(dataset.status()), Reason::kDatasetInvalid);
  EXPECT_EQ(GetField(dataset.status()), "row 7, label");
}

TEST(UploadDataset, AFileThatIsNotThereOrOfNoKnownKindIsRefusedHere) {
  Client client({.server = "127.0.0.1:1"});
  EXPECT_TRUE(absl::IsNotFound(UploadDataset(client, {.dataset_id = "d", .file = "nowhere.jsonl"}).status()));
  test::TempFolder folder;
  EXPECT_TRUE(absl::IsInvalidArgument(
      UploadDataset(client, {.dataset_id = "d", .file = folder.Write("d.xlsx", "x")}).status()));
}

TEST(EnsureDataset, TheSameBytesAreSentOnce) {
  MemoryDatasets datasets;
  InProcessServer server({&datasets});
  Client client({.server = server.address()});
  test::TempFolder folder;
  const auto first = EnsureDataset(client, folder.Write("a.jsonl", "{\"text\":\"a\",\"label\":\"b\"}\n"));
  const auto again = EnsureDataset(client, folder.Write("b.jsonl", "{\"text\":\"a\",\"label\":\"b\"}\n"));
  ASSERT_TRUE(first.ok() && again.ok());
  EXPECT_EQ(first->name(), again->name());
  EXPECT_EQ(datasets.uploads, 1);
  const auto other = EnsureDataset(client, folder.Write("a.jsonl", "{\"text\":\"other\",\"label\":\"b\"}\n"));
  ASSERT_TRUE(other.ok());
  EXPECT_NE(first->name(), other->name());
  EXPECT_EQ(datasets.uploads, 2);
}

TEST(EnsureDataset, TheSameBytesReadAsAnotherKindAreAnotherDataSet) {
  MemoryDatasets datasets;
  InProcessServer server({&datasets});
  Client client({.server = server.address()});
  test::TempFolder folder;
  const auto file = folder.Write("a.jsonl", "{\"text\":\"a\",\"label\":\"b\"}\n");
  const auto told = EnsureDataset(client, file);
  EXPECT_EQ(datasets.header.kind(), v1::DATASET_KIND_UNSPECIFIED);
  const auto records = EnsureDataset(client, file, v1::DATASET_KIND_RECORDS);
  ASSERT_TRUE(told.ok() && records.ok()) << records.status();
  EXPECT_EQ(datasets.header.kind(), v1::DATASET_KIND_RECORDS);
  EXPECT_EQ(records->name().substr(0, 23), "datasets/records-jsonl-");
  EXPECT_NE(told->name(), records->name());
  ASSERT_TRUE(EnsureDataset(client, file, v1::DATASET_KIND_RECORDS).ok());
  EXPECT_EQ(datasets.uploads, 2);
}

// A catalog that keeps what it is sent, and exports what a test puts there.
class MemoryCatalog final : public v1::CatalogService::Service {
 public:
  grpc::Status ImportAdapter(grpc::ServerContext*, grpc::ServerReader<v1::ImportAdapterRequest>* reader,
                             v1::Adapter* adapter) override {
    v1::ImportAdapterRequest request;
    reader->Read(&request);
    adapter->set_name("adapters/" + request.header().adapter_id());
    for (const auto& label : request.header().labels()) adapter->add_labels(label);
    while (reader->Read(&request)) files[request.file().path()] += request.file().data();
    return grpc::Status::OK;
  }
  grpc::Status ExportAdapter(grpc::ServerContext*, const v1::ExportAdapterRequest* request,
                             grpc::ServerWriter<v1::ExportAdapterResponse>* writer) override {
    export_request = *request;
    for (const auto& [path, bytes] : files) {
      for (size_t at = 0; at < bytes.size(); at += 3) {
        v1::ExportAdapterResponse part;
        part.mutable_file()->set_path(path);
        part.mutable_file()->set_data(bytes.substr(at, 3));
        writer->Write(part);
      }
    }
    return ToGrpcStatus(end);
  }
  grpc::Status GetBase(grpc::ServerContext*, const v1::GetBaseRequest*, v1::Base* answer) override {
    if (base.name().empty()) return ToGrpcStatus(TenonError(Reason::kNotFound, "There is no such base.", "name"));
    *answer = base;
    return grpc::Status::OK;
  }
  grpc::Status RegisterBase(grpc::ServerContext*, const v1::RegisterBaseRequest* request, v1::Base* answer) override {
    if (!register_error.ok()) return ToGrpcStatus(register_error);
    answer->set_name("bases/" + request->base_id());
    answer->set_digest("registered");
    return grpc::Status::OK;
  }
  grpc::Status UploadBase(grpc::ServerContext*, grpc::ServerReader<v1::UploadBaseRequest>* reader,
                          v1::Base* answer) override {
    v1::UploadBaseRequest request;
    reader->Read(&request);
    std::string bytes;
    std::vector<v1::FileEntry> manifest(request.header().files().begin(), request.header().files().end());
    while (reader->Read(&request)) bytes += request.chunk();
    size_t at = 0;
    for (const v1::FileEntry& file : manifest) {
      const std::string part = bytes.substr(at, static_cast<size_t>(file.size_bytes()));
      at += part.size();
      if (Sha256Hex(part) != file.sha256())
        return ToGrpcStatus(TenonError(Reason::kDigestMismatch, file.path(), "files"));
      files[file.path()] = part;
    }
    answer->set_digest("uploaded");
    return at == bytes.size() ? grpc::Status::OK
                              : grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "more bytes than files");
  }

  std::map<std::string, std::string> files;
  absl::Status end;
  v1::ExportAdapterRequest export_request;
  v1::Base base;
  absl::Status register_error;
};

class CatalogTest : public testing::Test {
 protected:
  MemoryCatalog catalog_;
  InProcessServer server_{{&catalog_}};
  Client client_{{.server = server_.address()}};
  test::TempFolder folder_;
};

TEST_F(CatalogTest, AnAdapterTravelsBothWays) {
  folder_.Write("adapter_config.json", "{\"r\": 8}");
  folder_.Write("adapter_model.safetensors", std::string("\0\1\2binary", 9));
  folder_.Write("README.md", "stays here");
  const auto adapter =
      ImportAdapter(client_, {.adapter_id = "a", .base = "b", .labels = {"no", "yes"}, .folder = folder_.path()});
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->labels_size(), 2);
  EXPECT_EQ(catalog_.files.size(), 2u);
  const auto names = ExportAdapter(client_, "a", folder_.path() / "out");
  ASSERT_TRUE(names.ok()) << names.status();
  EXPECT_THAT(*names, testing::ElementsAre("adapter_config.json", "adapter_model.safetensors"));
  EXPECT_EQ(ReadAll(folder_.path() / "out/adapter_model.safetensors"), std::string("\0\1\2binary", 9));
  EXPECT_FALSE(catalog_.export_request.merged());
  ASSERT_TRUE(ExportAdapter(client_, "a", folder_.path() / "merged", /*merged=*/true).ok());
  EXPECT_EQ(catalog_.export_request.name(), "a");
  EXPECT_TRUE(catalog_.export_request.merged());
}

TEST_F(CatalogTest, AFolderWithoutAnAdapterIsRefused) {
  EXPECT_EQ(GetReason(ImportAdapter(client_, {.adapter_id = "a", .base = "b", .folder = folder_.path()}).status()),
            Reason::kAdapterInvalid);
  EXPECT_TRUE(absl::IsNotFound(
      ImportAdapter(client_, {.adapter_id = "a", .base = "b", .folder = folder_.path() / "none"}).status()));
}

TEST_F(CatalogTest, AdapterHubsFilesTravelAndPicklesStay) {
  folder_.Write("adapter_config.json", "{}");
  folder_.Write("pytorch_adapter.bin", "pickle");
  const auto import = [&] {
    return ImportAdapter(client_, {.adapter_id = "a", .base = "b", .folder = folder_.path()}).status();
  };
  EXPECT_EQ(GetReason(import()), Reason::kUnsupported);
  EXPECT_EQ(GetField(import()), "pytorch_adapter.bin");
  for (const char* name : {"adapter.safetensors", "head_config.json", "model_head.safetensors"})
    folder_.Write(name, "x");
  EXPECT_TRUE(import().ok()) << import();
  EXPECT_EQ(catalog_.files.count("adapter.safetensors"), 1u);
  EXPECT_EQ(catalog_.files.count("model_head.safetensors"), 1u);
  EXPECT_EQ(catalog_.files.count("head_config.json"), 1u);
  EXPECT_EQ(catalog_.files.count("pytorch_adapter.bin"), 0u);
}

TEST_F(CatalogTest, AnExportOverwritesNothing) {
  folder_.Write("precious", "x");
  EXPECT_EQ(ExportAdapter(client_, "a", folder_.path()).status().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(CatalogTest, AnExportStaysInItsFolder) {
  catalog_.files["../outside"] = "x";
  const auto names = ExportAdapter(client_, "a", folder_.path() / "out");
  EXPECT_EQ(names.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(fs::exists(folder_.path() / "outside"));
}

TEST_F(CatalogTest, AFailedExportLeavesNothingBehind) {
  catalog_.files["adapter_config.json"] = "half";
  catalog_.end = TenonError(Reason::kNotFound, "There is no such adapter.", "name");
  EXPECT_EQ(GetReason(ExportAdapter(client_, "a", folder_.path() / "out").status()), Reason::kNotFound);
  EXPECT_FALSE(fs::exists(folder_.path() / "out"));
}

TEST_F(CatalogTest, AnExportThatCannotBeWrittenLeavesNothingBehindButTheUsersFolder) {
  catalog_.files["adapter_config.json"] = "fits";
  catalog_.files["dir/../../outside"] = "does not";
  fs::create_directory(folder_.path() / "mine");
  EXPECT_FALSE(ExportAdapter(client_, "a", folder_.path() / "mine").ok());
  EXPECT_TRUE(fs::is_empty(folder_.path() / "mine"));
  EXPECT_FALSE(ExportAdapter(client_, "a", folder_.path() / "made").ok());
  EXPECT_FALSE(fs::exists(folder_.path() / "made"));
}

// Enough of a base for its manifest; what the files hold is the server's affair.
void WriteBase(const test::TempFolder& folder) {
  folder.Write("config.json", R"({"model_type":"bert"})");
  folder.Write("model.safetensors", std::string(2'500'000, 'w'));
  folder.Write("vocab.txt", "[PAD]\n");
}

TEST_F(CatalogTest, ABaseOnThisMachineIsRegisteredInPlace) {
  WriteBase(folder_);
  const auto base = AddBase(client_, "b", folder_.path());
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_EQ(base->digest(), "registered");
}

TEST_F(CatalogTest, ABaseTheServerMayNotReadIsUploaded) {
  WriteBase(folder_);
  catalog_.register_error = TenonError(Reason::kFieldInvalid, "The folder is not below --bases-root.", "folder");
  const auto base = AddBase(client_, "b", folder_.path());
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_EQ(base->digest(), "uploaded");
  EXPECT_EQ(catalog_.files["model.safetensors"].size(), 2'500'000u);
}

TEST_F(CatalogTest, ABrokenBaseIsNotUploaded) {
  WriteBase(folder_);
  catalog_.register_error = TenonError(Reason::kBaseInvalid, "config.json names no layers.", "config.json");
  EXPECT_EQ(GetReason(AddBase(client_, "b", folder_.path()).status()), Reason::kBaseInvalid);
}

TEST_F(CatalogTest, TheSameBaseAgainIsFineAnotherUnderItsNameIsNot) {
  WriteBase(folder_);
  const auto manifest = ReadBaseManifest(folder_.path());
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  catalog_.base.set_name("bases/b");
  catalog_.base.set_digest(manifest->digest);
  EXPECT_TRUE(AddBase(client_, "b", folder_.path()).ok());
  folder_.Write("vocab.txt", "[PAD]\n[UNK]\n");
  EXPECT_EQ(GetReason(AddBase(client_, "b", folder_.path()).status()), Reason::kAlreadyExists);
}

}  // namespace
}  // namespace tenon::client
