#include <gtest/gtest.h>

#include "client/cli/job_view.h"

namespace tenon::cli {
namespace {

AnyJob Finetune(v1::Method method, const std::string& makes) {
  AnyJob job;
  job.finetune.set_name("finetuneJobs/j");
  job.finetune.set_base("bases/minilm");
  job.finetune.set_adapter(makes);
  job.finetune.set_task(v1::TASK_SEQUENCE_CLASSIFICATION);
  job.finetune.set_method(method);
  return job;
}

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(FullJob, SaysWhichBaseAFullJobMakes) {
  AnyJob job = Finetune(v1::METHOD_FULL, "bases/tickets");
  EXPECT_TRUE(Has(DescribeJob(job), "full for sequence_classification on bases/minilm, makes bases/tickets"));
  EXPECT_FALSE(Has(DescribeJob(job), "new base"));
  job.finetune.mutable_result()->set_base("bases/tickets");
  EXPECT_TRUE(Has(DescribeJob(job), "new base    bases/tickets")) << DescribeJob(job);
  EXPECT_FALSE(Has(DescribeJob(job), "adapter"));
}

TEST(FullJob, SaysWhichRevisionAnyOtherMakes) {
  AnyJob job = Finetune(v1::METHOD_LORA, "adapters/tickets");
  EXPECT_FALSE(Has(DescribeJob(job), "makes"));
  job.finetune.mutable_result()->set_adapter_revision("adapters/tickets/revisions/0f");
  EXPECT_TRUE(Has(DescribeJob(job), "adapters/tickets/revisions/0f"));
  EXPECT_FALSE(Has(DescribeJob(job), "new base"));
}

}  // namespace
}  // namespace tenon::cli
