// Characters as a reader sees them: extended grapheme clusters (Unicode Standard Annex 29).
#pragma once

#include <cstddef>

namespace tenon::engine {

// Bytes of the cluster that begins the valid UTF-8 [p, end), which is not empty. Clusters are those of Unicode 17.0, as
// Hugging Face's tokenizers library has them (measured over all code points with tokenizers 0.23), but that
// pictographs, which hold together what is joined to them, are ICU's.
size_t ClusterBytes(const char* p, const char* end);

}  // namespace tenon::engine
