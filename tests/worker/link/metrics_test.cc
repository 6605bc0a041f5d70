#include "worker/link/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/worker/link/recorded_runtime.h"

namespace tenon::link {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Metrics, EverySeriesExistsFromTheStart) {
  Metrics metrics;
  const std::string page = metrics.Render();
  for (const char* line :
       {"tenon_worker_adapter_disk_reads_total 0", "tenon_worker_train_steps_total 0",
        "tenon_worker_batch_distinct_adapters_count 0", "tenon_worker_adapter_gets_total{tier=\"device\"} 0",
        "tenon_worker_adapter_evictions_total{tier=\"memory\"} 0",
        "tenon_worker_adapter_loads_total{from=\"disk\",result=\"error\"} 0",
        "tenon_worker_slice_seconds_count{kind=\"train\"} 0", "tenon_worker_slice_seconds_count{kind=\"generate\"} 0",
        "tenon_worker_step_lines_count 0", "tenon_worker_generated_tokens_total 0", "process_resident_memory_bytes"}) {
    EXPECT_THAT(page, HasSubstr(line));
  }
}

TEST(Metrics, CountsWhatTheRuntimeDoes) {
  Metrics metrics;
  const runtime::RuntimeObserver observer = metrics.observer();
  observer.batch(32, 900, 17, absl::Milliseconds(40));
  observer.step(12, 60, 3, absl::Milliseconds(9));
  observer.step(11, 0, 3, absl::Milliseconds(7));
  observer.adapter_get("memory");
  observer.adapter_load("disk", absl::Milliseconds(3), true);
  observer.adapter_load("memory", absl::Milliseconds(1), false);
  observer.adapter_eviction("device");
  observer.slice("evaluate", absl::Milliseconds(4));
  metrics.OnTrainStep();
  const std::string page = metrics.Render();
  for (const char* line :
       {"tenon_worker_batch_rows_sum 32", "tenon_worker_batch_tokens_sum 900",
        "tenon_worker_batch_distinct_adapters_bucket{le=\"16\"} 0",
        "tenon_worker_batch_distinct_adapters_bucket{le=\"24\"} 1", "tenon_worker_inference_tokens_total 960",
        "tenon_worker_step_lines_sum 23", "tenon_worker_step_distinct_adapters_count 2",
        "tenon_worker_step_seconds_bucket{le=\"0.01\"} 2", "tenon_worker_generated_tokens_total 23",
        "tenon_worker_adapter_gets_total{tier=\"memory\"} 1", "tenon_worker_adapter_disk_reads_total 1",
        "tenon_worker_adapter_loads_total{from=\"memory\",result=\"error\"} 1",
        "tenon_worker_adapter_evictions_total{tier=\"device\"} 1",
        "tenon_worker_slice_seconds_count{kind=\"evaluate\"} 1", "tenon_worker_train_steps_total 1"}) {
    EXPECT_THAT(page, HasSubstr(line));
  }
}

TEST(Metrics, ReadsTheRuntimeAtEveryScrapeUntilItIsDetached) {
  Metrics metrics;
  testing::RecordedRuntime runtime;
  metrics.Attach(&runtime, nullptr, nullptr);
  EXPECT_THAT(metrics.Render(), HasSubstr("tenon_worker_base_bytes 77"));
  EXPECT_THAT(metrics.Render(), HasSubstr("tenon_worker_adapter_slots_used 3"));
  metrics.Detach();
  EXPECT_THAT(metrics.Render(), Not(HasSubstr("tenon_worker_base_bytes")));
}

TEST(Metrics, TellsTheProcessByItsUsualNames) {
  const std::string page = Metrics().Render();
  const auto value = [&](const std::string& name) {
    const size_t at = page.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::atof(page.c_str() + at + name.size() + 2);
  };
  EXPECT_GT(value("process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(value("process_open_fds"), 2);
  EXPECT_GE(value("process_threads"), 1);
  EXPECT_GE(value("process_cpu_seconds_total"), 0);
  EXPECT_NEAR(value("process_start_time_seconds"), absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()), 600);
}

TEST(Metrics, ListensOnAnyFreePortAndSaysWhereItCannot) {
  Metrics first, second;
  const auto port = first.Listen("127.0.0.1:0");
  ASSERT_TRUE(port.ok()) << port.status();
  EXPECT_GT(*port, 0);
  EXPECT_FALSE(second.Listen("127.0.0.1:" + std::to_string(*port)).ok());
}

}  // namespace
}  // namespace tenon::link
