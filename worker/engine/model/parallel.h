// The device's threads for loops of our own. Engine-internal.
#pragma once

#include <cstdint>
#include <functional>

namespace tenon::engine {

// Calls body(begin, end) for parts that cover 0 .. count - 1, on torch's own threads, none smaller than `grain` unless
// it is the last. Parts must not depend on each other: how many there are depends on the number of threads.
void ParallelFor(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& body);

}  // namespace tenon::engine
