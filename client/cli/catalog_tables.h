// Bases as a table.
#pragma once

#include <string>
#include <vector>

#include "tenon/v1/catalog_service.pb.h"

namespace tenon::cli {

// Empty for no bases.
std::string BaseTable(const std::vector<v1::Base>& bases);

}  // namespace tenon::cli
