#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/ids.h"
#include "server/catalog/catalog.h"
#include "server/catalog/records.h"

namespace tenon::server {
namespace {

ListQuery Everything(const std::string& kind) {
  ListQuery query;
  query.kind = kind;
  return query;
}

}  // namespace

absl::Status ModelIndex::Reload(Store& store) {
  absl::MutexLock refresh(&refresh_mutex_);
  std::map<Key, BaseEntry> bases;
  std::map<Key, AdapterEntry> adapters;
  RETURN_IF_ERROR(store.Read([&](Snapshot& snapshot) -> absl::Status {
    RETURN_IF_ERROR(ForEachRecord(snapshot, Everything(kBaseKind), [&](const Record& record) -> absl::Status {
      ASSIGN_OR_RETURN(bases[Key(record.tenant, record.id)], ToBaseEntry(record));
      return absl::OkStatus();
    }));
    return ForEachRecord(snapshot, Everything(kAdapterKind), [&](const Record& record) -> absl::Status {
      ASSIGN_OR_RETURN(adapters[Key(record.tenant, record.id)], ReadEntry(snapshot, record.tenant, record.id));
      return absl::OkStatus();
    });
  }));
  absl::MutexLock lock(&mutex_);
  bases_ = std::move(bases);
  adapters_ = std::move(adapters);
  return absl::OkStatus();
}

absl::StatusOr<ModelIndex::BaseEntry> ModelIndex::ToBaseEntry(const Record& record) {
  ASSIGN_OR_RETURN(auto stored, ParseBody<internal::v1::BaseRecord>(record));
  BaseEntry entry;
  entry.labels.assign(stored.labels().begin(), stored.labels().end());
  entry.multi_label = stored.multi_label();
  entry.regression = stored.regression();
  entry.base = std::move(*stored.mutable_base());
  return entry;
}

absl::StatusOr<ModelIndex::AdapterEntry> ModelIndex::ReadEntry(Snapshot& snapshot, const std::string& tenant,
                                                               const std::string& id) {
  AdapterEntry entry;
  ASSIGN_OR_RETURN(entry.adapter, ReadAdapter(snapshot, tenant, id));
  for (const v1::AdapterRevision& revision : entry.adapter.revisions()) {
    const std::string key = absl::StrCat(id, "/", revision.digest());
    ASSIGN_OR_RETURN(const Record record, snapshot.Get(tenant, kRevisionKind, key));
    ASSIGN_OR_RETURN(const auto stored, ParseBody<internal::v1::RevisionRecord>(record));
    entry.revisions[revision.digest()] = {stored.task(), stored.multi_label(), stored.regression()};
  }
  return entry;
}

absl::Status ModelIndex::RefreshAdapter(Store& store, const std::string& tenant, const std::string& id) {
  absl::MutexLock refresh(&refresh_mutex_);
  absl::StatusOr<AdapterEntry> entry = absl::UnknownError("");
  const absl::Status read = store.Read([&](Snapshot& snapshot) -> absl::Status {
    entry = ReadEntry(snapshot, tenant, id);
    return entry.status();
  });
  if (!read.ok() && !absl::IsNotFound(read)) return read;
  absl::MutexLock lock(&mutex_);
  if (read.ok()) {
    adapters_[Key(tenant, id)] = *std::move(entry);
  } else {
    adapters_.erase(Key(tenant, id));
  }
  return absl::OkStatus();
}

absl::Status ModelIndex::RefreshBase(Store& store, const std::string& tenant, const std::string& id) {
  absl::MutexLock refresh(&refresh_mutex_);
  absl::StatusOr<BaseEntry> entry = absl::UnknownError("");
  const absl::Status read = store.Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(const Record record, snapshot.Get(tenant, kBaseKind, id));
    entry = ToBaseEntry(record);
    return entry.status();
  });
  if (!read.ok() && !absl::IsNotFound(read)) return read;
  absl::MutexLock lock(&mutex_);
  if (read.ok()) {
    bases_[Key(tenant, id)] = *std::move(entry);
  } else {
    bases_.erase(Key(tenant, id));
  }
  return absl::OkStatus();
}

absl::StatusOr<ResolvedModel> ModelIndex::ResolveAdapter(const std::string& tenant, const std::string& name,
                                                         const std::string& field) const {
  ASSIGN_OR_RETURN(const AdapterName parsed, ParseAdapterName(name, field));
  absl::MutexLock lock(&mutex_);
  const auto found = adapters_.find(Key(tenant, parsed.id));
  if (found == adapters_.end()) {
    return TenonError(Reason::kNotFound, absl::StrCat("no adapter '", parsed.id, "'"), field);
  }
  const v1::Adapter& adapter = found->second.adapter;
  for (const v1::AdapterRevision& revision : adapter.revisions()) {
    if (parsed.revision.empty() ? revision.name() != adapter.default_revision()
                                : revision.digest() != parsed.revision) {
      continue;
    }
    const RevisionFacts& facts = found->second.revisions.at(revision.digest());
    ResolvedModel model;
    model.version.set_base(adapter.base());
    model.version.set_base_digest(adapter.base_digest());
    model.version.set_adapter(adapter.name());
    model.version.set_revision(revision.digest());
    model.adapter_files.assign(revision.files().begin(), revision.files().end());
    model.task = facts.task;
    model.method = revision.method();
    model.labels.assign(revision.labels().begin(), revision.labels().end());
    model.multi_label = facts.multi_label;
    model.regression = facts.regression;
    if (revision.has_text_template()) model.text_template = revision.text_template();
    return model;
  }
  return TenonError(Reason::kNotFound, absl::StrCat("adapter '", parsed.id, "' has no revision ", parsed.revision),
                    field);
}

absl::StatusOr<ResolvedModel> ModelIndex::ResolveBase(const std::string& tenant, const std::string& name,
                                                      const std::string& field) const {
  ASSIGN_OR_RETURN(const std::string id, ParseName("bases", name, field));
  absl::MutexLock lock(&mutex_);
  const auto found = bases_.find(Key(tenant, id));
  if (found == bases_.end()) return TenonError(Reason::kNotFound, absl::StrCat("no base '", id, "'"), field);
  const BaseEntry& entry = found->second;
  ResolvedModel model;
  model.version.set_base(entry.base.name());
  model.version.set_base_digest(entry.base.digest());
  const auto& tasks = entry.base.tasks();
  const auto does = [&](v1::Task task) { return std::find(tasks.begin(), tasks.end(), task) != tasks.end(); };
  model.task = does(v1::TASK_SEQ2SEQ)                ? v1::TASK_SEQ2SEQ
               : does(v1::TASK_CAUSAL_LM)            ? v1::TASK_CAUSAL_LM
               : does(v1::TASK_TOKEN_CLASSIFICATION) ? v1::TASK_TOKEN_CLASSIFICATION
               : does(v1::TASK_QUESTION_ANSWERING)   ? v1::TASK_QUESTION_ANSWERING
               : entry.labels.empty()                ? v1::TASK_FEATURE_EXTRACTION
                                                     : v1::TASK_SEQUENCE_CLASSIFICATION;
  model.labels = entry.labels;
  model.multi_label = entry.multi_label;
  model.regression = entry.regression;
  return model;
}

std::vector<v1::Base> ModelIndex::Bases() const {
  absl::MutexLock lock(&mutex_);
  std::vector<v1::Base> bases;
  for (const auto& [key, entry] : bases_) bases.push_back(entry.base);
  return bases;
}

}  // namespace tenon::server
