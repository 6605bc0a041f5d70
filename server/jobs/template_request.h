// The template by which rows of named fields become texts, of jobs that have one: checked with its defaults written
// into it, and against data sets. Pure.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "tenon/v1/dataset_service.pb.h"
#include "tenon/v1/finetune_service.pb.h"

namespace tenon::server {

// Takes over the job's template, by default `{input}` and `{target}`, and checks it and what does not go with one.
// FIELD_INVALID names one of its sides, or the template of a task that takes none; OPTION_INVALID the option.
absl::Status NormalizeTemplate(const v1::FinetuneJob& requested, v1::FinetuneJob& job);

// FIELD_INVALID names a side that is no template. Both are needed. `path`: of the template in the request or elsewhere,
// such as `finetune_job.text_template`.
absl::Status CheckTemplateSides(const v1::TextTemplate& text_template, const std::string& path);
// Whether rows of the data set fill both sides. FIELD_INVALID names a side and the fields that there are.
absl::Status CheckTemplateFields(const v1::TextTemplate& text_template, const std::string& path,
                                 const v1::Dataset& dataset);
// FIELD_INVALID with `field` for a data set without fields or rows.
absl::Status CheckTemplateRows(const v1::Dataset& dataset, const std::string& field);

}  // namespace tenon::server
