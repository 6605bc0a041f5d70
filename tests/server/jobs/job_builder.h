// Jobs and reports for tests.
#pragma once

#include <string>

#include "server/jobs/job.h"

namespace tenon::server {

inline JobRecord NewFinetune(const std::string& id = "j") {
  JobRecord job;
  job.set_tenant("default");
  job.mutable_finetune()->set_name("finetuneJobs/" + id);
  job.mutable_finetune()->set_adapter("adapters/a");
  return job;
}

inline JobRecord NewClassificationEval(int adapters) {
  JobRecord job;
  job.set_tenant("default");
  job.mutable_eval()->set_name("evalJobs/e");
  for (int i = 0; i < adapters; ++i) {
    job.mutable_eval()->mutable_classification()->add_adapters("adapters/a" + std::to_string(i));
    job.add_models()->set_adapter("adapters/a" + std::to_string(i));
  }
  return job;
}

inline internal::v1::ReportJobRequest NewReport(const JobRecord& job, int64_t term) {
  internal::v1::ReportJobRequest report;
  report.set_session(job.session());
  report.set_job(JobName(job));
  report.set_term(term);
  return report;
}

}  // namespace tenon::server
