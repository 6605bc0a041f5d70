// Gauges of this process from /proc.
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "absl/time/clock.h"
#include "server/api/metrics.h"

namespace tenon::server {
namespace {

double ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double OpenDescriptors() {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  int count = -3;  // `.`, `..` and the folder's own
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count;
}

double Threads() {
  std::ifstream status("/proc/self/status");
  std::string word;
  double threads = 0;
  while (status >> word) {
    if (word == "Threads:") status >> threads;
  }
  return threads;
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

std::vector<ServerMetrics::Gauge> ProcessGauges() {
  const double start = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  return {{"process_resident_memory_bytes", "Resident memory.", {}, ResidentBytes},
          {"process_open_fds", "Open file descriptors.", {}, OpenDescriptors},
          {"process_threads", "Threads.", {}, Threads},
          {"process_cpu_seconds_total", "Processor time, user and system.", {}, CpuSeconds},
          {"process_start_time_seconds", "Start of the process since the Unix epoch.", {}, [start] { return start; }}};
}

}  // namespace tenon::server
