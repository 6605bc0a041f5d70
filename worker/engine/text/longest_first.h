// What a pair of texts that is too long keeps. Pure.
#pragma once

#include <cstddef>
#include <utility>

namespace tenon::engine {

// How many tokens two texts of these lengths keep in `room`: `longest_first` of Hugging Face's tokenizers.
std::pair<size_t, size_t> LongestFirst(size_t first, size_t second, size_t room);

}  // namespace tenon::engine
