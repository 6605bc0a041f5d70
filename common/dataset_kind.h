// What rows of a data set hold, in the contract's words and in those of the reader of rows.
#pragma once

#include <optional>

#include "common/formats/dataset.h"
#include "tenon/v1/dataset_service.pb.h"

namespace tenon {

// Nothing for UNSPECIFIED: told by the columns.
std::optional<formats::DatasetKind> RowKind(v1::DatasetKind kind);
v1::DatasetKind ToKind(formats::DatasetKind kind);

}  // namespace tenon
