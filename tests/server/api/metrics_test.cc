// docs/metrics.md against what a live server shows.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/server/api/fake_worker.h"
#include "tests/server/api/server_fixture.h"

namespace tenon::server {
namespace {

struct Metric {
  std::string type;
  std::set<std::string> labels;
  bool operator==(const Metric& other) const { return type == other.type && labels == other.labels; }
};
void PrintTo(const Metric& metric, std::ostream* out) {
  *out << metric.type << " {";
  for (const std::string& label : metric.labels) *out << label << " ";
  *out << "}";
}

// The body of http://127.0.0.1:port/metrics.
std::string Scrape(int port) {
  const int socket_fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  std::string page;
  if (connect(socket_fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
    if (write(socket_fd, request.data(), request.size()) > 0) {
      char buffer[65536];
      for (ssize_t n = 0; (n = read(socket_fd, buffer, sizeof(buffer))) > 0;)
        page.append(buffer, static_cast<size_t>(n));
    }
  }
  close(socket_fd);
  return page;
}

// Name of the metric that a sample belongs to: histograms and summaries add endings.
std::string FamilyOf(const std::string& sample, const std::map<std::string, Metric>& metrics) {
  for (const char* ending : {"", "_bucket", "_count", "_sum"}) {
    const std::string name(absl::StripSuffix(sample, ending));
    if ((*ending == '\0' || name != sample) && metrics.count(name) > 0) return name;
  }
  return "";
}

std::map<std::string, Metric> Live(const std::string& page) {
  std::map<std::string, Metric> metrics;
  for (const auto piece : absl::StrSplit(page, '\n')) {
    const std::string line(piece);
    if (absl::StartsWith(line, "# TYPE ")) {
      const std::vector<std::string> words = absl::StrSplit(line, ' ');
      metrics[words[2]].type = words[3];
    }
    const size_t open = line.find('{');
    if (line.empty() || line[0] == '#' || open == std::string::npos) continue;
    const std::string family = FamilyOf(line.substr(0, open), metrics);
    if (family.empty()) continue;
    for (const auto piece : absl::StrSplit(line.substr(open + 1, line.find('}') - open - 1), ',')) {
      const std::string pair(piece);
      const std::string label = pair.substr(0, pair.find('='));
      if (label != "le" && label != "quantile") metrics[family].labels.insert(label);
    }
  }
  return metrics;
}

// Rows `| `name` | type | label, label | meaning |` below "## Server", up to the next heading of that rank.
std::map<std::string, Metric> Documented() {
  std::map<std::string, Metric> metrics;
  std::ifstream file("docs/metrics.md");
  bool server = false;
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, "## ")) server = line == "## Server";
    if (!server || !absl::StartsWith(line, "| `")) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    const std::string name(absl::StripSuffix(absl::StripPrefix(absl::StripAsciiWhitespace(cells[1]), "`"), "`"));
    Metric& metric = metrics[name];
    metric.type = std::string(absl::StripAsciiWhitespace(cells[2]));
    for (const auto label : absl::StrSplit(cells[3], ',')) {
      const std::string word(absl::StripAsciiWhitespace(label));
      if (!word.empty()) metric.labels.insert(std::string(absl::StripSuffix(absl::StripPrefix(word, "`"), "`")));
    }
  }
  return metrics;
}

class MetricsTest : public ServerFixture {
 protected:
  void Configure(ServerOptions* options) override { options->metrics_listen = "127.0.0.1:0"; }
};

TEST_F(MetricsTest, TheTableIsWhatALiveServerShows) {
  const auto live = Live(Scrape(server_->ports().metrics));
  const auto documented = Documented();
  ASSERT_GT(documented.size(), 20u);
  for (const auto& [name, metric] : live) {
    ASSERT_EQ(documented.count(name), 1u) << name << " is not in docs/metrics.md";
    EXPECT_EQ(documented.at(name), metric) << name;
  }
  for (const auto& [name, metric] : documented) EXPECT_EQ(live.count(name), 1u) << name << " is not on the page";
}

TEST_F(MetricsTest, CallsAreCounted) {
  const FakeWorker worker(server_->ports().workers, {});
  WaitForHealth("tenon.v1.InferenceService", true);
  ASSERT_TRUE(Classify({"one", "two"}).ok());
  EXPECT_FALSE(Classify({}).ok());
  const std::string page = Scrape(server_->ports().metrics);
  for (const char* line :
       {"tenon_requests_total{code=\"OK\",kind=\"classify\"} 1\n", "tenon_request_rows_total{kind=\"classify\"} 2\n",
        "tenon_tokens_total{direction=\"input\"} 8\n", "tenon_queue_wait_seconds_count{kind=\"classify\"} 1\n",
        "tenon_workers{state=\"ready\"} 1\n", "tenon_credits_tokens 1000\n", "tenon_credits_used_tokens 0\n",
        "grpc_code=\"InvalidArgument\",grpc_method=\"Classify\",grpc_service=\"tenon.v1.InferenceService\","
        "grpc_type=\"unary\"} 1\n"}) {
    EXPECT_THAT(page, ::testing::HasSubstr(line));
  }
}

TEST_F(MetricsTest, WhatIsWrittenIsCountedAndTimed) {
  FakeWorker::Options options;
  options.answer = [](const internal::v1::InferenceRequest& request) {
    return request.stream() ? std::nullopt : FakeWorker::Write(request);
  };
  FakeWorker worker(server_->ports().workers, options);
  ASSERT_TRUE(worker.WaitForWelcome());
  WaitForHealth("tenon.v1.InferenceService", true);
  v1::GenerateRequest generate;
  generate.set_base("mini");
  generate.add_texts("one");
  generate.add_texts("two");
  v1::GenerateResponse texts;
  ASSERT_TRUE(inference_->Generate(Context().get(), generate, &texts).ok());
  v1::SummarizeRequest summarize;
  summarize.set_base("mini");
  summarize.add_texts("one");
  v1::SummarizeResponse summaries;
  ASSERT_TRUE(inference_->Summarize(Context().get(), summarize, &summaries).ok());

  v1::StreamGenerateRequest stream;
  stream.set_base("mini");
  stream.set_text("one");
  const auto context = Context();
  const auto reader = inference_->StreamGenerate(context.get(), stream);
  const internal::v1::InferenceRequest sent = worker.WaitForRequests(3)[2];
  worker.SendDelta(sent.call_id(), "one");
  worker.Send(*FakeWorker::Write(sent));
  v1::StreamGenerateResponse message;
  while (reader->Read(&message)) {
  }
  ASSERT_TRUE(reader->Finish().ok());

  const std::string page = Scrape(server_->ports().metrics);
  for (const char* line :
       {"tenon_requests_total{code=\"OK\",kind=\"generate\"} 2\n", "tenon_request_rows_total{kind=\"generate\"} 3\n",
        "tenon_requests_total{code=\"OK\",kind=\"summarize\"} 1\n",
        "tenon_queue_wait_seconds_count{kind=\"generate\"} 2\n", "tenon_tokens_total{direction=\"input\"} 16\n",
        "tenon_tokens_total{direction=\"output\"} 12\n", "tenon_time_to_first_token_seconds_count 1\n",
        "tenon_time_per_output_token_seconds_count 1\n"}) {
    EXPECT_THAT(page, ::testing::HasSubstr(line));
  }
}

}  // namespace
}  // namespace tenon::server
