#include "worker/link/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <exception>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/formats/status.h"
#include "common/nudge.h"
#include "worker/link/process_metrics.h"

namespace tenon::link {
namespace {

using prometheus::Counter;
using prometheus::Histogram;
using prometheus::Registry;
using Buckets = Histogram::BucketBoundaries;

const Buckets kSizes = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512};
const Buckets kTokens = {16, 32, 64, 128, 256, 512, 1024, 2048, 3072, 4096, 8192, 16384};
const Buckets kSeconds = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10};

Counter& MakeCounter(Registry& registry, const std::string& name, const std::string& help,
                     const prometheus::Labels& labels = {}) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
}
Histogram& MakeHistogram(Registry& registry, const std::string& name, const std::string& help, const Buckets& buckets,
                         const prometheus::Labels& labels = {}) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(labels, buckets);
}

// Gauges that somebody else knows: read when they are asked for.
class LiveGauges final : public prometheus::Collectable {
 public:
  void Attach(const runtime::Runtime* runtime, const WorkerLink* link, const BlobCache* cache) {
    absl::MutexLock lock(&mutex_);
    runtime_ = runtime;
    link_ = link;
    cache_ = cache;
  }

  std::vector<prometheus::MetricFamily> Collect() const override {
    absl::MutexLock lock(&mutex_);
    std::vector<prometheus::MetricFamily> families;
    const auto add = [&](const std::string& name, const std::string& help, double value,
                         prometheus::MetricType type = prometheus::MetricType::Gauge) {
      prometheus::ClientMetric metric;
      (type == prometheus::MetricType::Gauge ? metric.gauge.value : metric.counter.value) = value;
      families.push_back({name, help, type, {metric}});
    };
    if (runtime_ != nullptr) {
      const runtime::RuntimeStats stats = runtime_->stats();
      const auto number = [](int64_t value) { return static_cast<double>(value); };
      add("tenon_worker_bases", "Bases in memory.", number(static_cast<int64_t>(runtime_->bases().size())));
      add("tenon_worker_base_bytes", "Device bytes of base weights, all copies counted.", number(stats.base_bytes));
      add("tenon_worker_queue_rows", "Rows that wait for a batch or a decoder.", number(stats.queued_rows));
      add("tenon_worker_queue_tokens", "Tokens that wait for a batch or a decoder.", number(stats.queued_tokens));
      add("tenon_worker_adapter_slots", "Places for adapters on the device.", number(stats.adapter_slots));
      add("tenon_worker_adapter_slots_used", "Adapters on the device.", number(stats.adapters_on_device));
      add("tenon_worker_adapters_in_memory", "Adapters in host memory.", number(stats.adapters_in_memory));
      add("tenon_worker_adapter_device_bytes", "Device bytes of adapters.", number(stats.device_adapter_bytes));
      add("tenon_worker_adapter_memory_bytes", "Host bytes of adapters.", number(stats.host_adapter_bytes));
    }
    if (cache_ != nullptr) {
      add("tenon_worker_adapter_disk_bytes", "Bytes of adapters in the disk cache.",
          static_cast<double>(cache_->adapter_bytes()));
    }
    if (link_ != nullptr) {
      add("tenon_worker_connected", "1 while the server's link is open.", link_->connected() ? 1 : 0);
      add("tenon_worker_connects_total", "Links opened to the server.", static_cast<double>(link_->connects()),
          prometheus::MetricType::Counter);
    }
    return families;
  }

 private:
  mutable absl::Mutex mutex_;
  const runtime::Runtime* runtime_ ABSL_GUARDED_BY(mutex_) = nullptr;
  const WorkerLink* link_ ABSL_GUARDED_BY(mutex_) = nullptr;
  const BlobCache* cache_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace

struct Metrics::State {
  std::shared_ptr<Registry> registry = std::make_shared<Registry>();
  std::shared_ptr<LiveGauges> live = std::make_shared<LiveGauges>();
  std::shared_ptr<ProcessMetrics> process = std::make_shared<ProcessMetrics>();
  std::unique_ptr<prometheus::Exposer> exposer;

  Histogram& batch_rows = MakeHistogram(*registry, "tenon_worker_batch_rows", "Rows of an inference batch.", kSizes);
  Histogram& batch_tokens = MakeHistogram(*registry, "tenon_worker_batch_tokens",
                                          "Tokens of an inference batch, padding not counted.", kTokens);
  Histogram& batch_adapters = MakeHistogram(*registry, "tenon_worker_batch_distinct_adapters",
                                            "Different models in an inference batch; the base alone is one.", kSizes);
  Histogram& batch_seconds =
      MakeHistogram(*registry, "tenon_worker_compute_seconds", "Device time of an inference batch.", kSeconds);
  Histogram& step_lines =
      MakeHistogram(*registry, "tenon_worker_step_lines", "Sequences that a decode step wrote on.", kSizes);
  Histogram& step_adapters = MakeHistogram(*registry, "tenon_worker_step_distinct_adapters",
                                           "Different models in a decode step; the base alone is one.", kSizes);
  Histogram& step_seconds =
      MakeHistogram(*registry, "tenon_worker_step_seconds", "Device time of a decode step, joins included.", kSeconds);
  Counter& tokens = MakeCounter(*registry, "tenon_worker_inference_tokens_total", "Tokens read for inference.");
  Counter& written = MakeCounter(*registry, "tenon_worker_generated_tokens_total",
                                 "Tokens written, those of beams that were dropped included.");
  Counter& train_steps = MakeCounter(*registry, "tenon_worker_train_steps_total", "Optimizer steps done.");
  Counter& disk_reads =
      MakeCounter(*registry, "tenon_worker_adapter_disk_reads_total", "Adapters read from disk into memory.");

  Counter& Gets(const std::string& tier) {
    return MakeCounter(*registry, "tenon_worker_adapter_gets_total",
                       "Calls for an adapter, by the tier it was found in: device, memory or disk.", {{"tier", tier}});
  }
  Counter& Evictions(const std::string& tier) {
    return MakeCounter(*registry, "tenon_worker_adapter_evictions_total", "Adapters that had to leave a tier.",
                       {{"tier", tier}});
  }
  Counter& Loads(const std::string& from, bool ok) {
    return MakeCounter(*registry, "tenon_worker_adapter_loads_total", "Adapters brought up from a tier, by result.",
                       {{"from", from}, {"result", ok ? "ok" : "error"}});
  }
  Histogram& LoadSeconds(const std::string& from) {
    return MakeHistogram(*registry, "tenon_worker_adapter_load_seconds", "Time to bring an adapter up from a tier.",
                         kSeconds, {{"from", from}});
  }
  Histogram& SliceSeconds(const std::string& kind) {
    return MakeHistogram(*registry, "tenon_worker_slice_seconds", "Device time of one slice.", kSeconds,
                         {{"kind", kind}});
  }

  State() {
    // Series that exist from the start, at 0, are series that alerts can be written on.
    for (const char* tier : {"device", "memory", "disk"}) Gets(tier);
    for (const char* tier : {"device", "memory"}) Evictions(tier);
    for (const char* from : {"memory", "disk"}) {
      Loads(from, true);
      Loads(from, false);
      LoadSeconds(from);
    }
    for (const char* kind : {"inference", "generate", "train", "evaluate"}) SliceSeconds(kind);
  }
};

Metrics::Metrics() : state_(std::make_shared<State>()) {}
Metrics::~Metrics() { Close(); }

runtime::RuntimeObserver Metrics::observer() {
  const std::shared_ptr<State> state = state_;
  runtime::RuntimeObserver observer;
  observer.batch = [state](int64_t rows, int64_t tokens, int64_t adapters, absl::Duration compute) {
    state->batch_rows.Observe(static_cast<double>(rows));
    state->batch_tokens.Observe(static_cast<double>(tokens));
    state->batch_adapters.Observe(static_cast<double>(adapters));
    state->batch_seconds.Observe(absl::ToDoubleSeconds(compute));
    state->tokens.Increment(static_cast<double>(tokens));
  };
  observer.step = [state](int64_t lines, int64_t read_tokens, int64_t adapters, absl::Duration compute) {
    state->step_lines.Observe(static_cast<double>(lines));
    state->step_adapters.Observe(static_cast<double>(adapters));
    state->step_seconds.Observe(absl::ToDoubleSeconds(compute));
    state->tokens.Increment(static_cast<double>(read_tokens));
    state->written.Increment(static_cast<double>(lines));
  };
  observer.adapter_get = [state](const std::string& tier) { state->Gets(tier).Increment(); };
  observer.adapter_eviction = [state](const std::string& tier) { state->Evictions(tier).Increment(); };
  observer.adapter_load = [state](const std::string& from, absl::Duration took, bool ok) {
    state->Loads(from, ok).Increment();
    state->LoadSeconds(from).Observe(absl::ToDoubleSeconds(took));
    if (from == "disk") state->disk_reads.Increment();
  };
  observer.slice = [state](const std::string& kind, absl::Duration took) {
    state->SliceSeconds(kind).Observe(absl::ToDoubleSeconds(took));
  };
  return observer;
}

void Metrics::OnTrainStep() { state_->train_steps.Increment(); }

void Metrics::Attach(const runtime::Runtime* runtime, const WorkerLink* link, const BlobCache* cache) {
  state_->live->Attach(runtime, link, cache);
}

void Metrics::Detach() { Attach(nullptr, nullptr, nullptr); }

void Metrics::Close() {
  if (state_->exposer == nullptr) return;
  const std::vector<int> ports = state_->exposer->GetListeningPorts();
  StopListener(ports.empty() ? 0 : ports.front(), [this] { state_->exposer.reset(); });
}

absl::StatusOr<int> Metrics::Listen(const std::string& address) {
  try {
    state_->exposer = std::make_unique<prometheus::Exposer>(address, 2);
  } catch (const std::exception& error) {
    return TenonError(Reason::kOptionInvalid, absl::StrCat("cannot serve metrics on ", address, ": ", error.what()));
  }
  state_->exposer->RegisterCollectable(state_->registry);
  state_->exposer->RegisterCollectable(state_->live);
  state_->exposer->RegisterCollectable(state_->process);
  const std::vector<int> ports = state_->exposer->GetListeningPorts();
  return ports.empty() ? 0 : ports.front();
}

std::string Metrics::Render() const {
  std::vector<prometheus::MetricFamily> families = state_->registry->Collect();
  for (const prometheus::Collectable* part : {static_cast<const prometheus::Collectable*>(state_->live.get()),
                                              static_cast<const prometheus::Collectable*>(state_->process.get())}) {
    for (prometheus::MetricFamily& family : part->Collect()) families.push_back(std::move(family));
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace tenon::link
