// Everything the server measures; docs/metrics.md lists it, and a test keeps the two equal. Labels are bounded: no ids
// of adapters, jobs, tenants or workers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/api/metrics_rpc.h"
#include "server/api/worker_link_service.h"
#include "server/app/inference_router.h"
#include "server/store/store.h"

namespace prometheus {
class Collectable;
class Exposer;
class Registry;
}  // namespace prometheus

namespace tenon::server {

// Thread-safe.
class ServerMetrics final : public InferenceObserver, public BlobObserver {
 public:
  explicit ServerMetrics(const std::string& version);
  ~ServerMetrics() override;

  RpcMetrics* rpc() { return &rpc_; }

  // A number that is asked for at each scrape, on the scraper's thread. Label sets of one name share its help.
  struct Gauge {
    std::string name;
    std::string help;
    std::map<std::string, std::string> labels;
    std::function<double()> value;
  };
  void AddGauges(std::vector<Gauge> gauges);

  void OnDispatched(internal::v1::InferenceKind kind, absl::Duration waited, int attempt) override;
  void OnFinished(internal::v1::InferenceKind kind, const absl::Status& status, int64_t rows, int64_t input_tokens,
                  int64_t output_tokens) override;
  void OnFirstText(absl::Duration since_admission) override;
  void OnStreamEnd(absl::Duration per_token) override;
  void OnFetched(int64_t bytes) override;
  void OnPublished(int64_t bytes) override;
  void OnStoreWrite(const absl::Status& status, double seconds);

  // Names of all metrics that a scrape shows now, without the exposer's own.
  std::vector<std::string> Names() const;
  const std::vector<std::shared_ptr<prometheus::Collectable>>& collectables() const { return collectables_; }

 private:
  struct Series;
  std::shared_ptr<prometheus::Registry> registry_;
  std::vector<std::shared_ptr<prometheus::Collectable>> collectables_;
  RpcMetrics rpc_;
  std::unique_ptr<Series> series_;
};

// The page that Prometheus reads, `http://ADDRESS/metrics`.
class MetricsEndpoint {
 public:
  // FIELD_INVALID in one line when the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Start(const std::string& address,
                                                                const ServerMetrics& metrics);
  ~MetricsEndpoint();
  int port() const;

 private:
  MetricsEndpoint() = default;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

// A store whose writes are counted and timed.
std::unique_ptr<Store> MeterStore(std::unique_ptr<Store> store, ServerMetrics* metrics);

// Memory, descriptors, processor time of this process, under the names of Prometheus's own client libraries.
std::vector<ServerMetrics::Gauge> ProcessGauges();

}  // namespace tenon::server
