// process_* of this process, by the names that Prometheus' own clients use. Read from /proc at every scrape.
#pragma once

#include <prometheus/collectable.h>

#include <vector>

namespace tenon::link {

class ProcessMetrics final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace tenon::link
