// Messages to the runtime's words and back. Pure.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/formats/dataset.h"
#include "tenon/internal/v1/worker_link_service.pb.h"
#include "worker/runtime/runtime.h"

namespace tenon::link {

absl::StatusOr<runtime::InferenceCall> ToCall(const internal::v1::InferenceRequest& request, absl::Time now);
internal::v1::InferenceResult ToResult(uint64_t call_id, internal::v1::InferenceKind kind, bool has_adapter,
                                       const absl::StatusOr<runtime::InferenceReply>& reply);

absl::StatusOr<formats::DatasetFormat> ToFormat(v1::DatasetFormat format);

// The job's options as the engine has them. Fields that the server left open take the documented defaults; `rows`: of
// the training set. OPTION_INVALID or UNSUPPORTED names the option.
absl::StatusOr<engine::TrainOptions> ToTrainOptions(const v1::FinetuneJob& spec, int64_t rows);
// Rows with the indices of their labels in `labels`.
absl::StatusOr<std::vector<engine::LabelledText>> ToRows(const formats::Dataset& dataset,
                                                         const std::vector<std::string>& labels);

v1::JobEvent::MetricPoint ToMetricPoint(int64_t step, const std::string& kind,
                                        const std::map<std::string, double>& metrics);
v1::EvalResult ToEvalResult(const std::string& base_digest, const std::string& adapter_digest,
                            const formats::TenonConfig& adapter, const runtime::HeadScores& scores);

}  // namespace tenon::link
