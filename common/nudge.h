// Ends a listener whose threads look at their stop flag only between waits for a connection.
#pragma once

#include <functional>

namespace tenon {

// Runs `stop` on a thread of its own and connects to loopback `port` again and again until it has returned. CivetWeb,
// below prometheus::Exposer, otherwise sleeps up to 2 s in poll before it sees that it is to end. A listener on another
// address than loopback's or all just takes that long.
void StopListener(int port, const std::function<void()>& stop);

}  // namespace tenon
