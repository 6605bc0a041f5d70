// A classification head in an adapter's file. Engine-internal, torch inside.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "worker/engine/adapter/adapter_file.h"
#include "worker/engine/adapter/read.h"

namespace tenon::engine {

// Whether the file has one of the base's family and the site's kind, behind `root`.
bool HasHead(const AdapterFile& file, const std::string& root, const AdapterSite& site);

// Puts its modules (formats::HeadModules) into the adapter; `labels` of -1 is any number. ADAPTER_INVALID names what is
// missing or does not fit, or what the base lacks for a head to stand on.
absl::Status TakeHead(AdapterFile& file, const std::string& root, int64_t labels, const AdapterSite& site,
                      AdapterTensors& adapter);

// Likewise the chain that stands behind a head on every token (spans/crf.h), whose head is there already.
absl::Status TakeChain(AdapterFile& file, const std::string& root, AdapterTensors& adapter);

}  // namespace tenon::engine
