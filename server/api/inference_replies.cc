#include "server/api/inference_replies.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/formats/status.h"
#include "common/formats/utf8.h"

namespace tenon::server {

absl::Status ModelRequired() { return TenonError(Reason::kFieldRequired, "name an adapter or a base", "model"); }

absl::Status CheckTexts(const google::protobuf::RepeatedPtrField<std::string>& texts, int max_texts) {
  if (texts.empty()) return TenonError(Reason::kFieldRequired, "at least one text is required", "texts");
  if (texts.size() > max_texts) {
    return TenonError(Reason::kFieldInvalid,
                      absl::StrCat("a call takes at most ", max_texts, " texts, not ", texts.size()), "texts");
  }
  for (int i = 0; i < texts.size(); ++i) {
    RETURN_IF_ERROR(formats::CheckText(texts[i], kMaxTextBytes, absl::StrCat("texts[", i, "]")));
  }
  return absl::OkStatus();
}

absl::Status CheckClassify(const v1::ClassifyRequest& request) {
  if (request.model_case() == v1::ClassifyRequest::MODEL_NOT_SET) return ModelRequired();
  if (request.top_k() < 0) return TenonError(Reason::kFieldInvalid, "top_k must not be negative", "top_k");
  return CheckTexts(request.texts());
}

absl::Status CheckEmbed(const v1::EmbedRequest& request) {
  if (request.model_case() == v1::EmbedRequest::MODEL_NOT_SET) return ModelRequired();
  if (!v1::Pooling_IsValid(request.pooling())) {
    return TenonError(Reason::kFieldInvalid, "pooling must be MEAN, CLS or MAX", "pooling");
  }
  return CheckTexts(request.texts());
}

absl::StatusOr<v1::ClassifyResponse> ClassifyReply(const ResolvedModel& model, int top_k,
                                                   const internal::v1::InferenceResult& result) {
  v1::ClassifyResponse response;
  const int num_labels = static_cast<int>(model.labels.size());
  const int kept = top_k == 0 ? num_labels : std::min(top_k, num_labels);
  std::vector<int> order(num_labels);
  for (const auto& row : result.rows()) {
    if (row.values_size() != num_labels) {
      return absl::InternalError(
          absl::StrCat("a worker answered ", row.values_size(), " scores for ", num_labels, " labels"));
    }
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return row.values(a) > row.values(b); });
    auto* classification = response.add_classifications();
    classification->set_label(model.labels[order[0]]);
    classification->set_score(row.values(order[0]));
    for (int i = 0; i < kept; ++i) {
      auto* entry = classification->add_classes();
      entry->set_label(model.labels[order[i]]);
      entry->set_score(row.values(order[i]));
    }
    classification->set_input_tokens(row.input_tokens());
    classification->set_truncated(row.truncated());
  }
  *response.mutable_model() = model.version;
  response.mutable_usage()->set_input_tokens(result.input_tokens());
  return response;
}

v1::EmbedResponse EmbedReply(const ResolvedModel& model, internal::v1::InferenceResult result) {
  v1::EmbedResponse response;
  for (auto& row : *result.mutable_rows()) {
    auto* embedding = response.add_embeddings();
    embedding->mutable_embedding()->Swap(row.mutable_values());
    embedding->set_input_tokens(row.input_tokens());
    embedding->set_truncated(row.truncated());
  }
  *response.mutable_model() = model.version;
  response.mutable_usage()->set_input_tokens(result.input_tokens());
  return response;
}

}  // namespace tenon::server
