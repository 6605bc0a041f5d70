// Jobs on texts that models write, from messages to the runtime's words and back. Pure, but for AddTemplate.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "common/formats/dataset.h"
#include "tenon/internal/v1/worker_link_service.pb.h"
#include "worker/runtime/runtime.h"

namespace tenon::link {

// The evaluation that `work.seq2seq` asks for, without an id. FIELD_INVALID names the option.
absl::StatusOr<runtime::Seq2SeqEvalJob> ToSeq2SeqEvalJob(const internal::v1::EvalWork& work,
                                                         const formats::Dataset& dataset);

// `labels`: those of the evaluation, whose scores are in their order. `adapter_digest` is empty for the base alone.
v1::EvalResult ToEvalResult(const std::string& base_digest, const std::string& adapter_digest,
                            const google::protobuf::RepeatedPtrField<std::string>& labels,
                            const engine::Seq2SeqScores& scores);

// Writes the template that rows were made with into the tenon.json of an exported adapter. ADAPTER_INVALID, DISK_FULL.
absl::Status AddTemplate(const std::filesystem::path& folder, const v1::TextTemplate& text_template);

}  // namespace tenon::link
