#include "common/nudge.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace tenon {
namespace {

TEST(StopListenerTest, WakesAListenerThatWaitsForAConnection) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(listener, 4), 0);
  socklen_t size = sizeof(address);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);

  std::atomic<bool> stop = false;
  int quiet = 0;
  std::thread server([&] {
    while (!stop) {
      pollfd wait{listener, POLLIN, 0};
      if (poll(&wait, 1, /*timeout_ms=*/60'000) == 0) ++quiet;
      const int peer = accept(listener, nullptr, nullptr);
      if (peer >= 0) close(peer);
    }
  });
  StopListener(ntohs(address.sin_port), [&] {
    stop = true;
    server.join();
  });
  EXPECT_EQ(quiet, 0) << "it slept to the end of its wait";
  close(listener);
}

TEST(StopListenerTest, ReturnsWithWhatNobodyListensTo) {
  bool stopped = false;
  StopListener(1, [&] { stopped = true; });
  EXPECT_TRUE(stopped);
}

}  // namespace
}  // namespace tenon
