#include "absl/time/clock.h"
#include "server/api/metrics.h"

namespace tenon::server {
namespace {

class MeteredStore final : public Store {
 public:
  MeteredStore(std::unique_ptr<Store> store, ServerMetrics* metrics) : store_(std::move(store)), metrics_(metrics) {}

  absl::Status Write(WriteBody body) override {
    const absl::Time start = absl::Now();
    absl::Status status = store_->Write(std::move(body));
    metrics_->OnStoreWrite(status, absl::ToDoubleSeconds(absl::Now() - start));
    return status;
  }
  void WriteAsync(WriteBody body, std::function<void(absl::Status)> done) override {
    store_->WriteAsync(std::move(body),
                       [metrics = metrics_, start = absl::Now(), done = std::move(done)](absl::Status status) {
                         metrics->OnStoreWrite(status, absl::ToDoubleSeconds(absl::Now() - start));
                         done(std::move(status));
                       });
  }
  absl::Status Read(const ReadBody& body) override { return store_->Read(body); }
  bool writable() const override { return store_->writable(); }

 private:
  std::unique_ptr<Store> store_;
  ServerMetrics* metrics_;
};

}  // namespace

std::unique_ptr<Store> MeterStore(std::unique_ptr<Store> store, ServerMetrics* metrics) {
  return std::make_unique<MeteredStore>(std::move(store), metrics);
}

}  // namespace tenon::server
