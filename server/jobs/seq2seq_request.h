// What jobs on texts that models write ask for: templates of training and evaluation, checked with defaults written
// into them. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tenon/v1/dataset_service.pb.h"
#include "tenon/v1/eval_service.pb.h"
#include "tenon/v1/finetune_service.pb.h"

namespace tenon::server {

// Takes over the template of a TASK_SEQ2SEQ job, by default `{input}` and `{target}`, and checks it and what else
// belongs to that task, or to others alone. FIELD_INVALID, OPTION_INVALID and UNSUPPORTED name the field.
absl::Status NormalizeSeq2Seq(const v1::FinetuneJob& requested, v1::FinetuneJob& job);

// The evaluation as it will be stored, before its names are looked up. FIELD_REQUIRED, FIELD_INVALID and UNSUPPORTED
// name the field.
absl::Status NormalizeSeq2SeqEval(v1::Seq2SeqEval& eval);

// Whether rows of the data set fill both sides of the template. `path`: of the template in the request or elsewhere,
// such as `finetune_job.text_template`; FIELD_INVALID names one of its sides and the fields that there are.
absl::Status CheckTemplateFields(const v1::TextTemplate& text_template, const std::string& path,
                                 const v1::Dataset& dataset);
// FIELD_INVALID with `field` for a data set without fields or rows.
absl::Status CheckTemplateRows(const v1::Dataset& dataset, const std::string& field);

}  // namespace tenon::server
