#include "common/nudge.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace tenon {
namespace {

void ConnectOnce(int port) {
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  (void)connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  close(descriptor);
}

}  // namespace

void StopListener(int port, const std::function<void()>& stop) {
  absl::Notification stopped;
  std::thread stopper([&] {
    stop();
    stopped.Notify();
  });
  // The first may come before the flag is set.
  do {
    ConnectOnce(port);
  } while (!stopped.WaitForNotificationWithTimeout(absl::Milliseconds(10)));
  stopper.join();
}

}  // namespace tenon
