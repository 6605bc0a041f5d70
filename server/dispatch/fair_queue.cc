#include "server/dispatch/fair_queue.h"

#include <algorithm>

namespace tenon::server {
namespace {

// Counters of models that do not wait are kept up to here, so that nobody gains by letting a queue run empty.
constexpr size_t kMaxModels = 4096;

// Puts `name` among the ranked, no lower than the least of them.
void Enter(std::set<std::pair<int64_t, std::string>>& ranked, int64_t& served, const std::string& name) {
  if (!ranked.empty()) served = std::max(served, ranked.begin()->first);
  ranked.emplace(served, name);
}

}  // namespace

FairQueue::Model& FairQueue::Activate(const std::string& tenant_name, const std::string& model_name) {
  Tenant& tenant = tenants_[tenant_name];
  Model& model = tenant.models[model_name];
  if (tenant.active.empty()) Enter(active_, tenant.served, tenant_name);
  if (model.calls.empty()) Enter(tenant.active, model.served, model_name);
  return model;
}

void FairQueue::PushBack(const std::string& tenant, const std::string& model, uint64_t call) {
  Activate(tenant, model).calls.push_back(call);
}

void FairQueue::PushFront(const std::string& tenant, const std::string& model, uint64_t call) {
  Activate(tenant, model).calls.push_front(call);
}

void FairQueue::Remove(const std::string& tenant_name, const std::string& model_name, uint64_t call) {
  const auto tenant = tenants_.find(tenant_name);
  if (tenant == tenants_.end()) return;
  const auto model = tenant->second.models.find(model_name);
  if (model == tenant->second.models.end()) return;
  auto& calls = model->second.calls;
  const auto found = std::find(calls.begin(), calls.end(), call);
  if (found == calls.end()) return;
  calls.erase(found);
  if (!calls.empty()) return;
  tenant->second.active.erase({model->second.served, model_name});
  if (!tenant->second.active.empty()) return;
  active_.erase({tenant->second.served, tenant_name});
  Forget();
}

void FairQueue::Charge(const std::string& tenant_name, const std::string& model_name, int64_t tokens) {
  const auto charge = [tokens](Ranked& ranked, int64_t& served, const std::string& name) {
    const bool waits = ranked.erase({served, name}) > 0;
    served += tokens;
    if (waits) ranked.emplace(served, name);
  };
  const auto tenant = tenants_.find(tenant_name);
  if (tenant == tenants_.end()) return;
  charge(active_, tenant->second.served, tenant_name);
  const auto model = tenant->second.models.find(model_name);
  if (model != tenant->second.models.end()) charge(tenant->second.active, model->second.served, model_name);
}

void FairQueue::Scan(const std::function<Visit(uint64_t call)>& visit) const {
  for (const auto& [tenant_served, tenant_name] : active_) {
    const Tenant& tenant = tenants_.at(tenant_name);
    for (const auto& [model_served, model_name] : tenant.active) {
      if (visit(tenant.models.at(model_name).calls.front()) == Visit::kStop) return;
    }
  }
}

void FairQueue::Forget() {
  for (auto tenant = tenants_.begin(); tenant != tenants_.end();) {
    if (tenant->second.active.empty() && tenant->second.models.size() > kMaxModels) tenant->second.models.clear();
    const bool drop = tenant->second.active.empty() && tenants_.size() > kMaxModels;
    tenant = drop ? tenants_.erase(tenant) : std::next(tenant);
  }
}

}  // namespace tenon::server
