#include "tests/server/api/server_fixture.h"

#include <grpcpp/generic/generic_stub.h>

#include <chrono>

#include "absl/strings/str_cat.h"
#include "common/status_proto.h"
#include "server/catalog/catalog.h"
#include "server/catalog/records.h"
#include "server/store/sqlite/sqlite_store.h"

namespace tenon::server {
namespace {

const std::string kBaseDigest(64, 'b');

// What `tenon bases add` and a job would have left in the store.
absl::Status FillCatalog(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const auto store, OpenSqliteStore({.folder = folder}));
  return store->Write([](Transaction& transaction) -> absl::Status {
    const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
    internal::v1::BaseRecord record;
    record.mutable_base()->set_name("bases/mini");
    record.mutable_base()->set_digest(kBaseDigest);
    record.mutable_base()->set_size_bytes(100);
    RETURN_IF_ERROR(transaction.Insert(MakeRecord("default", kBaseKind, "mini", "", now, record)));
    NewRevision revision;
    revision.adapter_id = "topics";
    revision.base = "bases/mini";
    revision.base_digest = kBaseDigest;
    revision.task = v1::TASK_SEQUENCE_CLASSIFICATION;
    revision.method = v1::METHOD_LORA;
    revision.labels = {"business", "sports", "world"};
    v1::FileEntry file;
    file.set_path("adapter_model.safetensors");
    file.set_size_bytes(10);
    file.set_sha256(std::string(64, 'f'));
    revision.files = {file};
    RETURN_IF_ERROR(PutRevision(transaction, "default", revision, now).status());
    for (const char* input : {"Short: {dialogue} =>", "{question} of {text}"}) {
      revision.adapter_id = input[0] == 'S' ? "talks" : "answers";
      revision.task = v1::TASK_SEQ2SEQ;
      revision.labels.clear();
      revision.text_template.emplace().set_input(input);
      revision.text_template->set_target("{summary}");
      revision.files[0].set_sha256(std::string(64, input[0] == 'S' ? 'd' : 'e'));
      RETURN_IF_ERROR(PutRevision(transaction, "default", revision, now).status());
    }
    return absl::OkStatus();
  });
}

// The next message of a stream without stubs.
bool Next(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  return queue.Next(&tag, &ok) && ok;
}

}  // namespace

void ServerFixture::SetUp() {
  options_.data = folder_.path() / "data";
  std::filesystem::create_directories(options_.data);
  const absl::Status filled = FillCatalog(options_.data);
  ASSERT_TRUE(filled.ok()) << filled;
  options_.listen = options_.workers_listen = "127.0.0.1:0";
  options_.metrics_listen.clear();  // its end takes the library 2 s
  options_.drain_seconds = 0;
  Configure(&options_);
  StartServer();
}

void ServerFixture::TearDown() { server_.reset(); }

void ServerFixture::StartServer() {
  auto server = Server::Start(options_, nullptr);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  inference_ = v1::InferenceService::NewStub(Channel());
}

std::shared_ptr<grpc::Channel> ServerFixture::Channel() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", server_->ports().grpc),
                                   grpc::InsecureChannelCredentials(), arguments);
}

std::unique_ptr<grpc::ClientContext> ServerFixture::Context(int seconds) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
  return context;
}

absl::Status ServerFixture::Classify(const std::vector<std::string>& texts, v1::ClassifyResponse* response) const {
  v1::ClassifyRequest request;
  request.set_adapter("adapters/topics");
  for (const std::string& text : texts) request.add_texts(text);
  v1::ClassifyResponse ignored;
  const auto context = Context();
  return FromGrpcStatus(inference_->Classify(context.get(), request, response == nullptr ? &ignored : response));
}

// HealthCheckRequest is one string, HealthCheckResponse one enum, where 1 is SERVING: no stubs are needed.
void ServerFixture::WaitForHealth(const std::string& service, bool serving) const {
  grpc::GenericStub stub(Channel());
  const auto context = Context();
  grpc::CompletionQueue queue;
  const auto stream = stub.PrepareCall(context.get(), "/grpc.health.v1.Health/Watch", &queue);
  stream->StartCall(nullptr);
  ASSERT_TRUE(Next(queue));
  const std::string bytes = absl::StrCat("\x0a", std::string(1, static_cast<char>(service.size())), service);
  grpc::Slice slice(bytes);
  stream->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  ASSERT_TRUE(Next(queue));
  while (true) {
    grpc::ByteBuffer message;
    stream->Read(&message, nullptr);
    ASSERT_TRUE(Next(queue)) << "the health of " << service << " did not become " << serving << " in time";
    grpc::Slice answer;
    ASSERT_TRUE(message.DumpToSingleSlice(&answer).ok());
    const bool is_serving = answer.size() == 2 && answer.begin()[1] == 1;
    if (is_serving == serving) break;
  }
  context->TryCancel();
  grpc::Status status;
  stream->Finish(&status, nullptr);
  (void)Next(queue);
}

}  // namespace tenon::server
