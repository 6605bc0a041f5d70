// VectorIndex on FAISS (https://github.com/facebookresearch/faiss): IndexFlatIP, or IndexHNSWFlat (Malkov and Yashunin,
// 2016) over the same kind of storage, which also answers exact searches.
//
// A call uses one thread and no BLAS: threads are the callers' affair, and a query scores the same alone and in
// company.
#pragma once

#include <memory>

#include "server/retrieval/vector_index.h"

namespace tenon::server {

struct HnswOptions {
  int links = 32;            // M: neighbours of a node above the lowest layer
  int build_breadth = 100;   // efConstruction
  int search_breadth = 128;  // efSearch, at least twice the number of results asked for
};

std::unique_ptr<VectorIndex> MakeFaissIndex(v1::IndexKind kind, int dimensions, const HnswOptions& options = {});

}  // namespace tenon::server
