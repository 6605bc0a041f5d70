// A fair queue of calls: virtual token counters (Sheng et al., "Fairness in Serving Large Language Models", 2024),
// first among tenants, then among one tenant's models. Whoever was served least goes first; one who comes back after a
// pause starts level with the least served of those who waited, so that pausing saves up nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace tenon::server {

// Not thread-safe.
class FairQueue {
 public:
  void PushBack(const std::string& tenant, const std::string& model, uint64_t call);
  // For calls that were out already.
  void PushFront(const std::string& tenant, const std::string& model, uint64_t call);
  // Removes a call from wherever it stands in its queue.
  void Remove(const std::string& tenant, const std::string& model, uint64_t call);
  // Charges tokens; negative ones give back what an estimate took too much.
  void Charge(const std::string& tenant, const std::string& model, int64_t tokens);

  enum class Visit {
    kNext,  // look at the next queue's head
    kStop,
  };
  // Shows each queue's oldest call, least served first. The visitor must not change the queue.
  void Scan(const std::function<Visit(uint64_t call)>& visit) const;
  bool empty() const { return active_.empty(); }

 private:
  using Ranked = std::set<std::pair<int64_t, std::string>>;  // (tokens served, name) of those who wait
  struct Model {
    int64_t served = 0;
    std::deque<uint64_t> calls;
  };
  struct Tenant {
    int64_t served = 0;
    std::map<std::string, Model> models;
    Ranked active;
  };

  Model& Activate(const std::string& tenant, const std::string& model);
  void Forget();

  std::map<std::string, Tenant> tenants_;
  Ranked active_;
};

}  // namespace tenon::server
