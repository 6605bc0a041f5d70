#include "server/app/job_preview.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/dataset_kind.h"
#include "common/formats/dataset.h"
#include "common/formats/status.h"
#include "common/tuning_options.h"
#include "server/app/stored_dataset.h"

namespace tenon::server {
namespace {

constexpr int64_t kPreviewRows = 3;
constexpr size_t kHeadBytes = 8 << 20;
constexpr size_t kPreviewCharacters = 1000;

// At most so many characters, with an ellipsis where something was cut.
std::string Cut(std::string text) {
  size_t characters = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) continue;
    if (++characters <= kPreviewCharacters) continue;
    text.resize(at);
    return text + "…";
  }
  return text;
}

}  // namespace

absl::StatusOr<FirstRows> ReadFirstRows(Store& store, BlobStore& blobs, const std::string& tenant,
                                        const std::string& dataset) {
  StoredDataset stored;
  const absl::Status found = store.Read([&](Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(stored, FindDataset(snapshot, tenant, dataset, ""));
    return absl::OkStatus();
  });
  // Whoever creates the job says what is wrong with the name.
  if (absl::IsNotFound(found)) return FirstRows();
  RETURN_IF_ERROR(found);
  std::string bytes;
  bool enough = false;
  const absl::Status read = blobs.Read(stored.ref.sha256(), [&](const std::string& piece) {
    bytes += piece;
    enough = bytes.size() >= kHeadBytes;
    return enough ? absl::CancelledError("enough was read") : absl::OkStatus();
  });
  if (!enough) RETURN_IF_ERROR(read);
  FirstRows first{.sha256 = stored.ref.sha256()};
  const auto kind = RowKind(stored.ref.kind());
  if (kind.has_value()) first.rows = formats::ReadFirstRecords(bytes, RowFormat(stored.ref), *kind, kPreviewRows);
  return first;
}

absl::Status AddPreview(const FirstRows& first, JobRecord& record) {
  v1::FinetuneJob& job = *record.mutable_finetune();
  if (!TakesTemplate(job.task()) || first.sha256 != record.dataset().sha256()) return absl::OkStatus();
  const std::string path = "finetune_job.text_template";
  ASSIGN_OR_RETURN(const auto input, formats::TextPattern::Parse(job.text_template().input(), path + ".input"));
  ASSIGN_OR_RETURN(const auto target, formats::TextPattern::Parse(job.text_template().target(), path + ".target"));
  for (size_t i = 0; i < first.rows.size(); ++i) {
    v1::TemplatedRow& row = *job.add_preview();
    for (const auto& [pattern, text] :
         {std::make_pair(&input, row.mutable_input()), std::make_pair(&target, row.mutable_target())}) {
      absl::StatusOr<std::string> rendered = pattern->Render(first.rows[i]);
      if (!rendered.ok()) return Annotate(rendered.status(), absl::StrCat(job.train_dataset(), ", row ", i + 1, ": "));
      *text = Cut(*std::move(rendered));
    }
  }
  return absl::OkStatus();
}

}  // namespace tenon::server
