#include "server/api/metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <exception>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/formats/status.h"
#include "common/nudge.h"

namespace tenon::server {
namespace {

using prometheus::Counter;
using prometheus::Histogram;

constexpr int kCodes = 17;
const Histogram::BucketBoundaries kWaitSeconds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                  0.25,   0.5,   1,      2.5,   5,    10,    30};

const Histogram::BucketBoundaries kFirstTokenSeconds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                        1,     2.5,  5,     10,   30,  60};
const Histogram::BucketBoundaries kPerTokenSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5};

// `classify` of INFERENCE_KIND_CLASSIFY; `other` for a kind that is not known.
const char* KindName(internal::v1::InferenceKind kind) {
  switch (kind) {
    case internal::v1::INFERENCE_KIND_CLASSIFY:
      return "classify";
    case internal::v1::INFERENCE_KIND_EMBED:
      return "embed";
    case internal::v1::INFERENCE_KIND_CHECK_ADAPTER:
      return "check_adapter";
    case internal::v1::INFERENCE_KIND_GENERATE:
      return "generate";
    case internal::v1::INFERENCE_KIND_SUMMARIZE:
      return "summarize";
    case internal::v1::INFERENCE_KIND_TAG:
      return "tag";
    case internal::v1::INFERENCE_KIND_ANSWER:
      return "answer";
    default:
      return "other";
  }
}

prometheus::Family<Counter>& CounterFamily(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

// Numbers that live elsewhere, read at each scrape.
class GaugeCollector final : public prometheus::Collectable {
 public:
  explicit GaugeCollector(std::vector<ServerMetrics::Gauge> gauges) : gauges_(std::move(gauges)) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    std::map<std::string, prometheus::MetricFamily> families;
    for (const auto& gauge : gauges_) {
      prometheus::MetricFamily& family = families[gauge.name];
      family.name = gauge.name;
      family.help = gauge.help;
      const bool counts = absl::EndsWith(gauge.name, "_total");
      family.type = counts ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
      prometheus::ClientMetric metric;
      for (const auto& [name, value] : gauge.labels) metric.label.push_back({name, value});
      (counts ? metric.counter.value : metric.gauge.value) = gauge.value();
      family.metric.push_back(std::move(metric));
    }
    std::vector<prometheus::MetricFamily> result;
    for (auto& [name, family] : families) result.push_back(std::move(family));
    return result;
  }

 private:
  const std::vector<ServerMetrics::Gauge> gauges_;
};

std::vector<std::string> AllServices() {
  std::vector<std::string> services = PublicServices();
  for (std::string& service : WorkerServices()) services.push_back(std::move(service));
  return services;
}

}  // namespace

// Counters and histograms by name, found once.
struct ServerMetrics::Series {
  struct Kind {
    Counter* by_code[kCodes];
    Counter* rows;
    Histogram* wait;
  };
  std::map<std::string, Kind> kinds;
  Counter* tokens_read;
  Counter* tokens_written;
  Histogram* first_token;
  Histogram* per_token;
  Counter* retries;
  Counter* fetched;
  Counter* published;
  Counter* writes_ok;
  Counter* writes_failed;
  Histogram* write_seconds;
};

ServerMetrics::ServerMetrics(const std::string& version)
    : registry_(std::make_shared<prometheus::Registry>()),
      collectables_({registry_}),
      rpc_(*registry_, AllServices()),
      series_(std::make_unique<Series>()) {
  prometheus::Registry& registry = *registry_;
  prometheus::BuildGauge()
      .Name("tenon_build_info")
      .Help("1, with the version as a label.")
      .Register(registry)
      .Add({{"version", version}})
      .Set(1);
  auto& requests =
      CounterFamily(registry, "tenon_requests_total", "Inference requests that were answered, by kind and gRPC code.");
  auto& rows =
      CounterFamily(registry, "tenon_request_rows_total", "Texts of inference requests that were answered, by kind.");
  auto& wait = prometheus::BuildHistogram()
                   .Name("tenon_queue_wait_seconds")
                   .Help("Time from admission to being sent to a worker.")
                   .Register(registry);
  for (const char* kind : {"classify", "embed", "generate", "summarize", "tag", "answer", "check_adapter", "other"}) {
    Series::Kind& series = series_->kinds[kind];
    for (int code = 0; code < kCodes; ++code) {
      series.by_code[code] = &requests.Add({{"kind", kind}, {"code", CodeName(static_cast<absl::StatusCode>(code))}});
    }
    series.rows = &rows.Add({{"kind", kind}});
    series.wait = &wait.Add({{"kind", kind}}, kWaitSeconds);
  }
  auto& tokens = CounterFamily(registry, "tenon_tokens_total", "Tokens that workers read and wrote.");
  series_->tokens_read = &tokens.Add({{"direction", "input"}});
  series_->tokens_written = &tokens.Add({{"direction", "output"}});
  series_->first_token = &prometheus::BuildHistogram()
                              .Name("tenon_time_to_first_token_seconds")
                              .Help("Time from admission of a StreamGenerate to its first text.")
                              .Register(registry)
                              .Add({}, kFirstTokenSeconds);
  series_->per_token =
      &prometheus::BuildHistogram()
           .Name("tenon_time_per_output_token_seconds")
           .Help("Time from the first text of a StreamGenerate to its end, for each token behind the first.")
           .Register(registry)
           .Add({}, kPerTokenSeconds);
  series_->retries =
      &CounterFamily(registry, "tenon_retries_total", "Requests sent to a second worker after the first was lost.")
           .Add({});
  auto& blobs = CounterFamily(registry, "tenon_blob_bytes_total", "Bytes of files that workers took and gave.");
  series_->fetched = &blobs.Add({{"direction", "fetched"}});
  series_->published = &blobs.Add({{"direction", "published"}});
  auto& writes = CounterFamily(registry, "tenon_store_writes_total", "Transactions of the store, by result.");
  series_->writes_ok = &writes.Add({{"result", "ok"}});
  series_->writes_failed = &writes.Add({{"result", "error"}});
  series_->write_seconds = &prometheus::BuildHistogram()
                                .Name("tenon_store_write_seconds")
                                .Help("Time from asking for a transaction to its durable commit.")
                                .Register(registry)
                                .Add({}, Histogram::BucketBoundaries{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                                     0.5, 1, 2.5, 5, 10});
}

ServerMetrics::~ServerMetrics() = default;

void ServerMetrics::AddGauges(std::vector<Gauge> gauges) {
  collectables_.push_back(std::make_shared<GaugeCollector>(std::move(gauges)));
}

void ServerMetrics::OnDispatched(internal::v1::InferenceKind kind, absl::Duration waited, int attempt) {
  series_->kinds.at(KindName(kind)).wait->Observe(absl::ToDoubleSeconds(waited));
  if (attempt > 1) series_->retries->Increment();
}

void ServerMetrics::OnFinished(internal::v1::InferenceKind kind, const absl::Status& status, int64_t rows,
                               int64_t input_tokens, int64_t output_tokens) {
  const Series::Kind& series = series_->kinds.at(KindName(kind));
  const int code = static_cast<int>(status.code());
  series.by_code[code >= 0 && code < kCodes ? code : static_cast<int>(absl::StatusCode::kUnknown)]->Increment();
  series.rows->Increment(static_cast<double>(rows));
  series_->tokens_read->Increment(static_cast<double>(input_tokens));
  series_->tokens_written->Increment(static_cast<double>(output_tokens));
}

void ServerMetrics::OnFirstText(absl::Duration since_admission) {
  series_->first_token->Observe(absl::ToDoubleSeconds(since_admission));
}

void ServerMetrics::OnStreamEnd(absl::Duration per_token) {
  series_->per_token->Observe(absl::ToDoubleSeconds(per_token));
}

void ServerMetrics::OnFetched(int64_t bytes) { series_->fetched->Increment(static_cast<double>(bytes)); }
void ServerMetrics::OnPublished(int64_t bytes) { series_->published->Increment(static_cast<double>(bytes)); }

void ServerMetrics::OnStoreWrite(const absl::Status& status, double seconds) {
  // A body that refuses what was asked is no failure of the store.
  const Reason reason = GetReason(status);
  const bool failed = reason == Reason::kDiskFull || reason == Reason::kStorageFault;
  (failed ? series_->writes_failed : series_->writes_ok)->Increment();
  series_->write_seconds->Observe(seconds);
}

std::vector<std::string> ServerMetrics::Names() const {
  std::vector<std::string> names;
  for (const auto& collectable : collectables_) {
    for (const auto& family : collectable->Collect()) names.push_back(family.name);
  }
  return names;
}

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(const std::string& address,
                                                                        const ServerMetrics& metrics) {
  auto endpoint = std::unique_ptr<MetricsEndpoint>(new MetricsEndpoint);
  try {
    endpoint->exposer_ = std::make_unique<prometheus::Exposer>(address, 1);
  } catch (const std::exception&) {
    return TenonError(Reason::kFieldInvalid, absl::StrCat("cannot listen on ", address,
                                                          ": the port is taken, or the address is not this machine's"));
  }
  for (const auto& collectable : metrics.collectables()) endpoint->exposer_->RegisterCollectable(collectable);
  return endpoint;
}

MetricsEndpoint::~MetricsEndpoint() {
  if (exposer_ != nullptr) StopListener(port(), [this] { exposer_.reset(); });
}

int MetricsEndpoint::port() const { return exposer_->GetListeningPorts().front(); }

}  // namespace tenon::server
