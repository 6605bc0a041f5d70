// A whole server in this process, on free ports, with a base and an adapter in its catalog.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/server.h"
#include "tenon/v1/inference_service.grpc.pb.h"
#include "tests/common/formats/temp_folder.h"

namespace tenon::server {

class ServerFixture : public ::testing::Test {
 protected:
  // `bases/mini` without a head, `adapters/topics` on it with labels business, sports, world; `adapters/talks` and
  // `adapters/answers`, which write, with templates of one field and of two.
  void SetUp() override;
  void TearDown() override;

  // Changes of options before the server starts.
  virtual void Configure(ServerOptions* /*options*/) {}
  void StartServer();

  std::shared_ptr<grpc::Channel> Channel() const;
  // A call's context with a deadline that no test reaches.
  static std::unique_ptr<grpc::ClientContext> Context(int seconds = 30);
  // Classifies with `adapters/topics`; the error has reason and field again.
  absl::Status Classify(const std::vector<std::string>& texts, v1::ClassifyResponse* response = nullptr) const;
  // Waits until grpc.health.v1 says so of a service.
  void WaitForHealth(const std::string& service, bool serving) const;

  test::TempFolder folder_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::InferenceService::Stub> inference_;
};

}  // namespace tenon::server
