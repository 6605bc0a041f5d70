// An adapter's revision merged into its base, streamed file by file.
#pragma once

#include <filesystem>
#include <functional>

#include "absl/status/status.h"
#include "server/app/call_scope.h"
#include "server/blobs/blob_store.h"
#include "server/catalog/catalog.h"
#include "server/store/store.h"
#include "tenon/v1/catalog_service.pb.h"

namespace tenon::server {

// Gives the files of formats::MergeModel to `write`, until it returns false. The adapter is put into a folder below
// `staging` meanwhile; of the base nothing is kept. Blocks on disk for as long as the reader takes. UNSUPPORTED when
// the adapter is no change of the base's weights, or answers by other sentence vectors than the base's; CANCELLED once
// nobody waits any more.
absl::Status ExportMerged(Store& store, BlobStore& blobs, const std::filesystem::path& staging, const CallScope& scope,
                          const ResolvedModel& model,
                          const std::function<bool(const v1::ExportAdapterResponse&)>& write);

}  // namespace tenon::server
