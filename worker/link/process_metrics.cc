#include "worker/link/process_metrics.h"

#include <prometheus/metric_family.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <system_error>

namespace tenon::link {
namespace {

prometheus::MetricFamily Family(const std::string& name, const std::string& help, prometheus::MetricType type,
                                double value) {
  prometheus::MetricFamily family{name, help, type, {}};
  prometheus::ClientMetric metric;
  (type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  family.metric.push_back(metric);
  return family;
}

// Seconds since 1970 at which the machine was started.
double BootTime() {
  std::ifstream in("/proc/stat");
  for (std::string key; in >> key;) {
    double value = 0;
    if (key == "btime" && in >> value) return value;
  }
  return 0;
}

}  // namespace

std::vector<prometheus::MetricFamily> ProcessMetrics::Collect() const {
  using prometheus::MetricType;
  std::ifstream in("/proc/self/stat");
  std::string text(std::istreambuf_iterator<char>(in), {});
  // Fields from the third on: the second, the program's name, may hold anything but ends with the last parenthesis.
  std::istringstream rest(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  const std::vector<std::string> words{std::istream_iterator<std::string>(rest), {}};
  const auto field = [&](size_t number) { return number < words.size() ? std::stod(words[number]) : 0.0; };
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const double page = static_cast<double>(sysconf(_SC_PAGESIZE));
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  std::error_code ignored;
  const auto open = std::distance(std::filesystem::directory_iterator("/proc/self/fd", ignored), {});
  return {
      Family("process_cpu_seconds_total", "User and system CPU time spent.", MetricType::Counter,
             (field(11) + field(12)) / ticks),
      Family("process_threads", "Threads of the process.", MetricType::Gauge, field(17)),
      Family("process_start_time_seconds", "Start of the process, since 1970.", MetricType::Gauge,
             BootTime() + field(19) / ticks),
      Family("process_virtual_memory_bytes", "Virtual memory.", MetricType::Gauge, field(20)),
      Family("process_resident_memory_bytes", "Resident memory.", MetricType::Gauge, field(21) * page),
      Family("process_open_fds", "Open file descriptors.", MetricType::Gauge, static_cast<double>(open)),
      Family("process_max_fds", "Most file descriptors that may be open.", MetricType::Gauge,
             static_cast<double>(files.rlim_cur)),
  };
}

}  // namespace tenon::link
