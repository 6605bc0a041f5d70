// tenon workers list, tenon status, tenon version
#include <google/protobuf/stubs/common.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/version.h"

namespace tenon::cli {
namespace {

absl::Status ListWorkers(Cli& cli) {
  ASSIGN_OR_RETURN(
      const v1::ListWorkersResponse response,
      cli.client().Call(cli.client().admin(), &v1::AdminService::Stub::ListWorkers, v1::ListWorkersRequest()));
  if (cli.json()) {
    Print(ToJson(response));
    return absl::OkStatus();
  }
  Table table({"WORKER", "STATE", "DEVICE", "VERSION", "BASES", "ADAPTERS", "MEMORY", "JOBS", "SINCE"});
  for (const v1::Worker& worker : response.workers()) {
    table.Add({worker.id(), Word(worker.state()), worker.device(), worker.version(),
               absl::StrCat(worker.base_digests_size()), absl::StrCat(worker.adapters_resident()),
               FormatBytes(worker.memory_bytes()), absl::StrJoin(worker.jobs(), ", "),
               FormatTime(worker.connect_time())});
  }
  Print(table.empty() ? "No workers are connected." : table.ToString());
  return absl::OkStatus();
}

absl::Status GetStatus(Cli& cli) {
  ASSIGN_OR_RETURN(const v1::GetStatusResponse status,
                   cli.client().Call(cli.client().admin(), &v1::AdminService::Stub::GetStatus, v1::GetStatusRequest()));
  if (cli.json()) {
    Print(ToJson(status));
    return absl::OkStatus();
  }
  Table facts({});
  facts.Add({"server", absl::StrCat(cli.settings().server, ", version ", status.version())});
  facts.Add({"since", FormatTime(status.start_time())});
  facts.Add({"workers", absl::StrCat(status.ready_workers(), " ready")});
  facts.Add({"jobs", absl::StrCat(status.running_jobs(), " running, ", status.queued_jobs(), " queued")});
  facts.Add({"requests", absl::StrCat(status.queued_requests(), " queued")});
  facts.Add({"store", status.writable() ? "takes writes" : "takes NO writes: see the server's log"});
  Print(facts.ToString());
  return absl::OkStatus();
}

absl::Status PrintVersion(Cli& cli) {
  if (cli.json()) {
    Print(nlohmann::ordered_json{{"version", kVersion}, {"commit", kCommit}, {"grpc", grpc::Version()}}.dump());
  } else {
    Print(absl::StrCat("tenon ", kVersion, " (", kCommit, "), gRPC ", grpc::Version()));
  }
  return absl::OkStatus();
}

}  // namespace

void AddAdmin(CLI::App& app, Cli& cli) {
  CLI::App* workers = AddNoun(app, "workers", "The device processes");
  AddCommand(*workers, cli, "list", "Connected workers: device, bases and jobs they hold", "tenon workers list",
             [&cli] { return ListWorkers(cli); });
  AddCommand(app, cli, "status", "Whether the server answers, and how busy it is", "tenon status --output json",
             [&cli] { return GetStatus(cli); });
  AddCommand(app, cli, "version", "Version of this program", "tenon version", [&cli] { return PrintVersion(cli); });
}

}  // namespace tenon::cli
