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

namespace {

// None, or one for each text, which may be empty.
absl::Status CheckPairs(const v1::ClassifyRequest& request) {
  const auto& pairs = request.text_pairs();
  if (!pairs.empty() && pairs.size() != request.texts_size()) {
    return TenonError(Reason::kFieldInvalid,
                      absl::StrCat("there are ", pairs.size(), " second texts for ", request.texts_size(),
                                   " texts; give one for each, empty where a text stands alone"),
                      "text_pairs");
  }
  for (int i = 0; i < pairs.size(); ++i) {
    if (pairs[i].empty()) continue;
    RETURN_IF_ERROR(formats::CheckText(pairs[i], kMaxTextBytes, absl::StrCat("text_pairs[", i, "]")));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckClassify(const v1::ClassifyRequest& request) {
  if (request.model_case() == v1::ClassifyRequest::MODEL_NOT_SET) return ModelRequired();
  if (request.top_k() < 0) return TenonError(Reason::kFieldInvalid, "top_k must not be negative", "top_k");
  RETURN_IF_ERROR(CheckTexts(request.texts()));
  return CheckPairs(request);
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
    auto* classification = response.add_classifications();
    classification->set_input_tokens(row.input_tokens());
    classification->set_truncated(row.truncated());
    if (model.regression) {
      classification->mutable_values()->Add(row.values().begin(), row.values().end());
      continue;
    }
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return row.values(a) > row.values(b); });
    classification->set_label(model.labels[order[0]]);
    classification->set_score(row.values(order[0]));
    for (int i = 0; i < kept; ++i) {
      auto* entry = classification->add_classes();
      entry->set_label(model.labels[order[i]]);
      entry->set_score(row.values(order[i]));
    }
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
