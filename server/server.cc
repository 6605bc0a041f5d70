#include "server/server.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/formats/status.h"
#include "server/access/access.h"
#include "server/api/admin_service.h"
#include "server/api/catalog_service.h"
#include "server/api/dataset_service.h"
#include "server/api/eval_service.h"
#include "server/api/finetune_service.h"
#include "server/api/grpc_listener.h"
#include "server/api/inference_service.h"
#include "server/api/metrics.h"
#include "server/api/retrieval_service.h"
#include "server/api/worker_link_service.h"
#include "server/app/catalog_sweep.h"
#include "server/app/retrieval_eval.h"
#include "server/blobs/dir/dir_blob_store.h"
#include "server/store/sqlite/sqlite_store.h"

namespace tenon::server {
namespace {

namespace fs = std::filesystem;

// Files of checkpoints whose report is still on its way after a restart are not swept.
constexpr absl::Duration kSweepAge = absl::Hours(1);
const std::vector<std::string> kWorkerServed = {"tenon.v1.InferenceService", "tenon.v1.RetrievalService"};

absl::Status CheckReach(const std::string& flag, const std::string& address, bool allow_remote) {
  if (allow_remote || IsLoopbackAddress(address)) return absl::OkStatus();
  return TenonError(
      Reason::kFieldInvalid,
      absl::StrCat(flag, " ", address, " can be reached from other machines, and there are no credentials: ",
                   "use 127.0.0.1, or say --allow-remote"));
}

absl::Status MakeFolder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error) return absl::OkStatus();
  return TenonError(Reason::kStorageFault,
                    absl::StrCat("cannot make the folder ", folder.string(), ": ", error.message()));
}

absl::Status WritePorts(const fs::path& file, const Server::Ports& ports) {
  if (file.empty()) return absl::OkStatus();
  if (file.has_parent_path()) RETURN_IF_ERROR(MakeFolder(file.parent_path()));
  const fs::path temporary = file.string() + ".tmp";
  std::ofstream out(temporary);
  out << "{\"grpc\": " << ports.grpc << ", \"workers\": " << ports.workers << ", \"metrics\": " << ports.metrics
      << "}\n";
  out.close();
  std::error_code error;
  fs::rename(temporary, file, error);
  if (out && !error) return absl::OkStatus();
  return TenonError(Reason::kStorageFault, absl::StrCat("cannot write ", file.string()));
}

}  // namespace

// In order of construction; each uses those above it.
struct Server::Rooms {
  explicit Rooms(const ServerOptions& o)
      : options(o),
        fleet(clock, {.heartbeat = absl::Milliseconds(o.heartbeat_ms),
                      .lease = absl::Milliseconds(o.lease_ms),
                      .reconnect_window = absl::Milliseconds(o.reconnect_ms)}) {}

  absl::Status OpenStore();
  absl::Status OpenRooms(std::shared_ptr<spdlog::logger> access_log);
  absl::Status Listen();
  void AddGauges();
  void Shutdown(absl::Duration grace);

  const ServerOptions options;
  const Clock& clock = Clock::Real();
  const absl::Time start_time = absl::Now();
  ServerMetrics metrics{TENON_VERSION};
  ModelIndex models;
  Fleet fleet;
  std::unique_ptr<EventLoop> loop = std::make_unique<EventLoop>();
  std::unique_ptr<Store> store;
  std::unique_ptr<BlobStore> blobs;
  std::unique_ptr<LoopInferenceRouter> router;
  std::unique_ptr<IndexCache> indexes;
  std::unique_ptr<Collections> collections;
  std::unique_ptr<CollectionEvaluator> evaluator;
  std::unique_ptr<WorkerLink> link;
  std::unique_ptr<JobScheduler> jobs;
  std::unique_ptr<Bases> bases;
  std::unique_ptr<Adapters> adapters;
  std::unique_ptr<Datasets> datasets;
  std::unique_ptr<Documents> documents;
  std::unique_ptr<CallRunner> runner;
  std::unique_ptr<CallRunner> worker_runner;  // of its own: clients must not keep workers from reporting
  std::vector<std::unique_ptr<grpc::Service>> public_services;
  std::unique_ptr<WorkerLinkService> worker_service;
  std::unique_ptr<GrpcListener> workers_listener;
  std::unique_ptr<GrpcListener> listener;
  std::unique_ptr<MetricsEndpoint> metrics_endpoint;
};

absl::Status Server::Rooms::OpenStore() {
  RETURN_IF_ERROR(MakeFolder(options.data));
  ASSIGN_OR_RETURN(auto sqlite, OpenSqliteStore({.folder = options.data}));
  store = MeterStore(std::move(sqlite), &metrics);
  ASSIGN_OR_RETURN(blobs, OpenDirBlobStore(options.data / "blobs"));
  // Space that is not freed is no reason not to serve.
  const absl::StatusOr<int64_t> swept = SweepBlobs(*store, *blobs, kSweepAge);
  if (!swept.ok()) {
    spdlog::warn("cannot delete files that nothing refers to: {}", std::string(swept.status().message()));
  } else if (*swept > 0) {
    spdlog::info("deleted {} files that nothing refers to", *swept);
  }
  // Uploads that a crash cut off; nobody else uses the folder while the store holds its lock.
  std::error_code error;
  fs::remove_all(options.data / "staging", error);
  RETURN_IF_ERROR(MakeFolder(options.data / "staging"));
  return models.Reload(*store);
}

absl::Status Server::Rooms::OpenRooms(std::shared_ptr<spdlog::logger> access_log) {
  Dispatcher::Options limits;
  limits.max_rows = options.max_queued_texts;
  limits.max_bytes = int64_t{options.max_queued_mb} << 20;
  router = std::make_unique<LoopInferenceRouter>(
      LoopInferenceRouter::Parts{.loop = loop.get(), .clock = &clock, .fleet = &fleet, .observer = &metrics}, limits);
  indexes = std::make_unique<IndexCache>(DocumentLoader(store.get()), int64_t{options.index_memory_mb} << 20);
  collections = std::make_unique<Collections>(Collections::Parts{store.get(), &models, indexes.get(), &clock});
  evaluator = std::make_unique<CollectionEvaluator>(
      CollectionEvaluator::Parts{store.get(), blobs.get(), router.get(), indexes.get(), collections.get()});
  JobScheduler::Options job_options;
  job_options.lease = fleet.options().lease;
  job_options.max_queued_jobs = options.max_queued_jobs;
  ASSIGN_OR_RETURN(jobs,
                   JobScheduler::Create({.store = store.get(),
                                         .blobs = blobs.get(),
                                         .models = &models,
                                         .loop = loop.get(),
                                         .clock = &clock,
                                         .retrieval = evaluator.get(),
                                         .bases_changed =
                                             [this] {
                                               if (link != nullptr) link->OnCatalogChanged();
                                             },
                                         .send =
                                             [this](const std::string& session, internal::v1::LinkResponse message) {
                                               if (link != nullptr) link->Send(session, std::move(message));
                                             }},
                                        job_options));
  // Made on the loop, where the scheduler already runs and may look for it.
  loop->Run([this] {
    link = std::make_unique<WorkerLink>(WorkerLink::Parts{
        .loop = loop.get(), .fleet = &fleet, .router = router.get(), .jobs = jobs.get(), .bases = [this] {
          return models.Bases();
        }});
  });
  const fs::path staging = options.data / "staging";
  bases = std::make_unique<Bases>(
      Bases::Parts{store.get(), blobs.get(), &models, &clock, [this] { link->OnCatalogChanged(); }},
      Bases::Options{.staging = staging, .bases_root = options.bases_root});
  adapters = std::make_unique<Adapters>(Adapters::Parts{store.get(), blobs.get(), &models, router.get(), &clock},
                                        Adapters::Options{.staging = staging});
  datasets = std::make_unique<Datasets>(Datasets::Parts{store.get(), blobs.get(), &clock}, Datasets::Options());
  documents =
      std::make_unique<Documents>(Documents::Parts{store.get(), router.get(), indexes.get(), collections.get()});

  runner = std::make_unique<CallRunner>(clock, metrics.rpc(), access_log, CallRunner::Options());
  worker_runner = std::make_unique<CallRunner>(clock, metrics.rpc(), std::move(access_log), CallRunner::Options());
  public_services.push_back(std::make_unique<FinetuneService>(runner.get(), jobs.get()));
  public_services.push_back(std::make_unique<EvalService>(runner.get(), jobs.get()));
  public_services.push_back(std::make_unique<InferenceService>(runner.get(), &models, router.get()));
  public_services.push_back(std::make_unique<RetrievalServiceImpl>(runner.get(), collections.get(), documents.get()));
  public_services.push_back(std::make_unique<CatalogServiceImpl>(runner.get(), bases.get(), adapters.get()));
  public_services.push_back(std::make_unique<DatasetServiceImpl>(runner.get(), datasets.get()));
  public_services.push_back(std::make_unique<AdminService>(AdminService::Parts{.runner = runner.get(),
                                                                               .link = link.get(),
                                                                               .router = router.get(),
                                                                               .jobs = jobs.get(),
                                                                               .store = store.get(),
                                                                               .version = TENON_VERSION,
                                                                               .start_time = start_time}));
  worker_service = std::make_unique<WorkerLinkService>(WorkerLinkService::Parts{.runner = worker_runner.get(),
                                                                                .link = link.get(),
                                                                                .jobs = jobs.get(),
                                                                                .blobs = blobs.get(),
                                                                                .observer = &metrics});
  AddGauges();
  return absl::OkStatus();
}

void Server::Rooms::AddGauges() {
  const auto load = [this](const char* name, const char* help, int64_t Dispatcher::Load::*field) {
    return ServerMetrics::Gauge{name, help, {}, [this, field] { return static_cast<double>(router->load().*field); }};
  };
  std::vector<ServerMetrics::Gauge> gauges = {
      load("tenon_queue_requests", "Inference requests that wait for a worker.", &Dispatcher::Load::calls),
      load("tenon_queue_rows", "Texts of them.", &Dispatcher::Load::rows),
      load("tenon_queue_bytes", "Bytes of them.", &Dispatcher::Load::bytes),
      load("tenon_requests_running", "Inference requests that workers are answering.", &Dispatcher::Load::running),
      load("tenon_credits_tokens", "Tokens that may be out on all connected workers.", &Dispatcher::Load::credits),
      load("tenon_credits_used_tokens", "Tokens charged for requests that are out.", &Dispatcher::Load::outstanding),
      {"tenon_store_writable", "1 while the store takes writes.", {}, [this] { return store->writable() ? 1.0 : 0.0; }},
      {"tenon_indexes", "Vector indexes in memory.", {}, [this] { return static_cast<double>(indexes->count()); }},
      {"tenon_index_bytes", "Memory of them.", {}, [this] { return static_cast<double>(indexes->bytes()); }},
      {"tenon_calls_waiting", "Calls that wait for a thread of the server.", {}, [this] {
         return static_cast<double>(runner->calls().waiting());
       }}};
  const std::pair<const char*, WorkerStage> stages[] = {
      {"loading", WorkerStage::kLoading}, {"ready", WorkerStage::kReady}, {"lost", WorkerStage::kLost}};
  for (const auto& [state, stage] : stages) {
    gauges.push_back({"tenon_workers", "Workers, by state.", {{"state", state}}, [this, stage = stage] {
                        const auto workers = link->Workers();
                        return static_cast<double>(
                            std::count_if(workers.begin(), workers.end(),
                                          [&](const WorkerView& view) { return view.stage == stage; }));
                      }});
  }
  const std::pair<const char*, int JobScheduler::Counts::*> states[] = {
      {"validating", &JobScheduler::Counts::validating},
      {"queued", &JobScheduler::Counts::queued},
      {"running", &JobScheduler::Counts::running}};
  for (const auto& [state, field] : states) {
    gauges.push_back({"tenon_jobs", "Jobs that are not finished, by state.", {{"state", state}}, [this, field = field] {
                        return static_cast<double>(jobs->counts().*field);
                      }});
  }
  metrics.AddGauges(std::move(gauges));
  metrics.AddGauges(ProcessGauges());
}

absl::Status Server::Rooms::Listen() {
  GrpcListener::Options workers;
  workers.address = options.workers_listen;
  workers.services = {worker_service.get()};
  workers.max_message_bytes = 256 << 20;
  // Whether a worker is gone is the lease's to say, not the connection's.
  workers.keepalive_timeout = std::max(absl::Seconds(20), 2 * fleet.options().lease);
  ASSIGN_OR_RETURN(workers_listener, GrpcListener::Start(workers));
  if (!options.metrics_listen.empty()) {
    ASSIGN_OR_RETURN(metrics_endpoint, MetricsEndpoint::Start(options.metrics_listen, metrics));
  }
  GrpcListener::Options clients;
  clients.address = options.listen;
  for (const auto& service : public_services) clients.services.push_back(service.get());
  clients.health = true;
  ASSIGN_OR_RETURN(listener, GrpcListener::Start(clients));
  loop->Run([this] { link->set_on_serving([this](bool serving) { listener->SetServing(kWorkerServed, serving); }); });
  link->StartTicking();
  return absl::OkStatus();
}

// Those who call go first, then what they call; the loop lives as long as anybody may post to it.
void Server::Rooms::Shutdown(absl::Duration grace) {
  if (loop == nullptr) return;
  if (jobs != nullptr) jobs->Close();
  if (listener != nullptr) {
    loop->Run([this] { link->set_on_serving(nullptr); });
    listener->StopServing();
    listener->Shutdown(grace);
  }
  metrics_endpoint.reset();
  if (router != nullptr) {
    loop->Run([this] { router->Stop(); });
  }
  if (workers_listener != nullptr) workers_listener->Shutdown(absl::Milliseconds(500));
  if (link != nullptr) {
    loop->Run([this] { link->Stop(); });
  }
  public_services.clear();
  runner.reset();
  worker_runner.reset();
  jobs.reset();
  store.reset();
  loop.reset();
}

Server::Server() = default;
Server::~Server() { rooms_->Shutdown(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      std::shared_ptr<spdlog::logger> access_log) {
  RETURN_IF_ERROR(CheckReach("--listen", options.listen, options.allow_remote));
  RETURN_IF_ERROR(CheckReach("--workers-listen", options.workers_listen, options.allow_remote));
  auto server = std::unique_ptr<Server>(new Server);
  server->rooms_ = std::make_unique<Rooms>(options);
  RETURN_IF_ERROR(server->rooms_->OpenStore());
  RETURN_IF_ERROR(server->rooms_->OpenRooms(std::move(access_log)));
  RETURN_IF_ERROR(server->rooms_->Listen());
  RETURN_IF_ERROR(WritePorts(options.ports_file, server->ports()));
  return server;
}

void Server::Shutdown() { rooms_->Shutdown(absl::Seconds(rooms_->options.drain_seconds)); }

Server::Ports Server::ports() const {
  return {rooms_->listener->port(), rooms_->workers_listener->port(),
          rooms_->metrics_endpoint == nullptr ? 0 : rooms_->metrics_endpoint->port()};
}

}  // namespace tenon::server
