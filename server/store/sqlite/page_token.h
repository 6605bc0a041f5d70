// Page tokens of the SQLite store: where a list goes on, bound to the list it came from.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/store.h"

namespace tenon::server {

// The last record of a page.
struct PageCursor {
  int64_t create_us = 0;
  std::string id;
  std::string tenant;
};

std::string MakePageToken(const ListQuery& query, const PageCursor& cursor);
// PAGE_TOKEN_INVALID when it was not made for this query (its limit may differ).
absl::StatusOr<PageCursor> ParsePageToken(const ListQuery& query);

}  // namespace tenon::server
