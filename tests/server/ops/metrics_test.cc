// The page of metrics over a real socket.
#include "server/ops/metrics.h"

#include <arpa/inet.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

// A connection to a port of this machine.
int Connect(const std::string& address) {
  const auto port = htons(std::atoi(address.substr(address.rfind(':') + 1).c_str()));
  const bool v6 = address.starts_with('[');
  const int socket_fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  sockaddr_in6 to_v6 = {};
  to_v6.sin6_family = AF_INET6;
  to_v6.sin6_addr = in6addr_loopback;
  to_v6.sin6_port = port;
  sockaddr_in to_v4 = {};
  to_v4.sin_family = AF_INET;
  to_v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to_v4.sin_port = port;
  const auto* to =
      v6 ? reinterpret_cast<const sockaddr*>(&to_v6) : reinterpret_cast<const sockaddr*>(&to_v4);
  EXPECT_EQ(connect(socket_fd, to, v6 ? sizeof(to_v6) : sizeof(to_v4)), 0);
  return socket_fd;
}

void Send(int socket_fd, const std::string& bytes) {
  EXPECT_EQ(send(socket_fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), bytes.size());
}

// All that comes until the server closes.
std::string Receive(int socket_fd) {
  std::string received;
  char buffer[4096];
  for (ssize_t got; (got = recv(socket_fd, buffer, sizeof(buffer), 0)) > 0;) {
    received.append(buffer, got);
  }
  close(socket_fd);
  return received;
}

std::string Ask(const std::string& address, const std::string& first_line) {
  const int socket_fd = Connect(address);
  Send(socket_fd, first_line + "\r\nHost: here\r\nConnection: close\r\n\r\n");
  return Receive(socket_fd);
}

// The answer to GET /metrics.
std::string Fetch(const std::string& address) {
  const std::string answer = Ask(address, "GET /metrics HTTP/1.1");
  EXPECT_THAT(answer, HasSubstr("200 OK"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  return answer.substr(answer.find("\r\n\r\n") + 4);
}

// A page in Prometheus's text format: what it says of each series, "name{labels}".
struct Page {
  std::map<std::string, double> values;
  std::map<std::string, std::string> types;  // by name

  double operator[](const std::string& series) const {
    const auto found = values.find(series);
    EXPECT_NE(found, values.end()) << series;
    return found == values.end() ? -1.0 : found->second;
  }
};

Page Parse(const std::string& text) {
  Page page;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    std::istringstream words(line);
    std::string hash, keyword, name, type;
    if (line[0] == '#') {
      words >> hash >> keyword >> name >> type;
      EXPECT_TRUE(keyword == "HELP" || keyword == "TYPE") << line;
      const bool first = keyword != "TYPE" || page.types.emplace(name, type).second;
      EXPECT_TRUE(first) << line;
      continue;
    }
    const size_t space = line.rfind(' ');
    char* end = nullptr;
    const double value = std::strtod(line.c_str() + space + 1, &end);
    EXPECT_EQ(*end, '\0') << line;
    EXPECT_TRUE(page.values.emplace(line.substr(0, space), value).second) << line;
  }
  return page;
}

class Metrics : public ::testing::Test {
 protected:
  static FakeServerOptions Options() {
    FakeServerOptions options;
    options.model.slots = 4;
    options.measured = true;
    return options;
  }
  Page Get() { return Parse(Fetch(page_->address())); }

  FakeServer server_{Options()};
  std::unique_ptr<MetricsPage> page_ =
      MetricsPage::Start("127.0.0.1:0", &server_.engine(), &server_.metrics()).value();
};

v1::GenerateRequest LongPrompt(int chunks, int32_t max_tokens) {
  v1::GenerateRequest request = GreedyRequest(max_tokens);
  for (int i = 0; i < 64 * chunks; ++i) request.mutable_token_ids()->add_ids(3 + i % 200);
  request.set_ignore_eos(true);
  return request;
}

TEST_F(Metrics, AgreeWithTheEngine) {
  ASSERT_TRUE(server_.Generate(LongPrompt(3, 8)).status.ok());
  ASSERT_TRUE(server_.Generate(LongPrompt(3, 8)).status.ok());
  const EngineStats stats = server_.engine().stats();
  const Page page = Get();
  EXPECT_EQ(page["retnet_generated_tokens_total"], 16);
  EXPECT_EQ(page["retnet_prompt_tokens_total"], static_cast<double>(stats.prompt_tokens));
  EXPECT_EQ(page["retnet_steps_total"], static_cast<double>(stats.steps));
  EXPECT_EQ(page["retnet_requests_finished_total"], 2);
  EXPECT_EQ(page["retnet_prefix_cache_hits_total"], 1);
  EXPECT_EQ(page["retnet_prefix_cache_misses_total"], 1);
  EXPECT_EQ(page["retnet_cached_prefixes"], stats.cached_prefixes);
  EXPECT_GT(page["retnet_cached_prefix_bytes"], 0);
  EXPECT_EQ(page["retnet_slots{state=\"live\"}"], 0);
  EXPECT_EQ(page["retnet_slots{state=\"resting\"}"], stats.parked_slots);
  EXPECT_EQ(page["retnet_slots{state=\"free\"}"] + stats.parked_slots, 4);
  EXPECT_EQ(page["retnet_healthy"], 1);
  EXPECT_EQ(page["vllm:kv_cache_usage_perc{model_name=\"fake\"}"], 0);
  EXPECT_EQ(page.types.at("retnet_steps_total"), "counter");
  EXPECT_EQ(page.types.at("retnet_sessions"), "gauge");
}

TEST_F(Metrics, CountEveryTokenAndEveryCallByHowItEnded) {
  ASSERT_TRUE(server_.Generate(GreedyRequest(1)).status.ok());
  ASSERT_TRUE(server_.Generate(LongPrompt(1, 20)).status.ok());
  v1::GenerateRequest refused = GreedyRequest(1);
  refused.set_temperature(-1);
  EXPECT_FALSE(server_.Generate(refused).status.ok());
  const Page page = Get();
  EXPECT_EQ(page["retnet_time_to_first_token_seconds_count"], 2);
  EXPECT_EQ(page["retnet_queue_seconds_count"], 2);
  EXPECT_EQ(page["retnet_inter_token_seconds_count"], 19);
  EXPECT_EQ(page["retnet_inter_token_seconds_bucket{le=\"+Inf\"}"], 19);
  EXPECT_GT(page["retnet_time_to_first_token_seconds_sum"], 0);
  const auto calls = [&](const std::string& code) {
    return page["retnet_calls_total{service=\"retnet.v1.Generation\",method=\"Generate\",code=\"" +
                code + "\"}"];
  };
  EXPECT_EQ(calls("OK"), 2);
  EXPECT_EQ(calls("INVALID_ARGUMENT"), 1);
}

TEST_F(Metrics, ShowWhatRunsUnderVllmsNamesToo) {
  server_.control().Hold();
  grpc::ClientContext context;
  const auto stream = server_.stub().Generate(&context, LongPrompt(1, 20));
  server_.control().AwaitHeldStep();
  const Page page = Get();
  EXPECT_EQ(page["vllm:num_requests_running{model_name=\"fake\"}"], 1);
  EXPECT_EQ(page["vllm:num_requests_waiting{model_name=\"fake\"}"], 0);
  EXPECT_EQ(page["vllm:kv_cache_usage_perc{model_name=\"fake\"}"], 0.25);
  server_.control().Release();
  v1::GenerateResponse response;
  while (stream->Read(&response)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
}

// Calls methods of so many names that the server does not have.
void CallUnknownMethods(FakeServer* server, int names) {
  grpc::GenericStub stub(server->NewChannel());
  for (int i = 0; i < names; ++i) {
    const std::string prefix = i % 2 == 0 ? "/retnet.v1.Generation/No" : "/no.Service/";
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto call =
        stub.PrepareUnaryCall(&context, prefix + std::to_string(i), grpc::ByteBuffer(), &queue);
    call->StartCall();
    grpc::ByteBuffer answer;
    grpc::Status status;
    call->Finish(&answer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  }
}

TEST_F(Metrics, CountUnknownMethodsUnderOneName) {
  const size_t series = Get().values.size();
  CallUnknownMethods(&server_, 200);
  const Page page = Get();
  EXPECT_EQ(page.values.size(), series + 1);
  EXPECT_EQ(page["retnet_calls_total{service=\"unknown\",method=\"unknown\",code="
                 "\"UNIMPLEMENTED\"}"],
            200);
  EXPECT_THAT(server_.metrics().calls(), SizeIs(1));
}

TEST_F(Metrics, CountCallsOfEveryService) {
  server_.Health("");
  EXPECT_EQ(Get()["retnet_calls_total{service=\"grpc.health.v1.Health\",method=\"Check\",code="
                  "\"OK\"}"],
            1);
}

TEST_F(Metrics, AreNotDelayedByIdleAndSlowConnections) {
  // More than the server keeps, so that new ones must take the place of old ones.
  std::vector<int> others;
  for (int i = 0; i < 200; ++i) {
    others.push_back(Connect(page_->address()));
    if (i % 2 == 0) Send(others.back(), "GET /metrics HTTP/1.1\r\nHost");
    if (i % 50 == 0) Get();
  }
  Get();
  // The oldest made room.
  char byte;
  EXPECT_LE(recv(others.front(), &byte, 1, 0), 0);
  for (const int connection : others) close(connection);
  Get();
}

TEST_F(Metrics, KeepAConnectionForTheNextScrape) {
  const int connection = Connect(page_->address());
  Send(connection, "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
  char byte;
  EXPECT_EQ(recv(connection, &byte, 1, 0), 1);
  Send(connection, "GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
  const std::string both = Receive(connection);
  EXPECT_NE(both.find("200 OK"), both.rfind("200 OK"));
}

TEST_F(Metrics, AreTheOnlyPage) {
  EXPECT_THAT(Ask(page_->address(), "GET / HTTP/1.1"), HasSubstr("404 Not Found"));
  EXPECT_THAT(Ask(page_->address(), "POST /metrics HTTP/1.1"), HasSubstr("405 Method Not Allowed"));
  EXPECT_THAT(Ask(page_->address(), "HEAD /metrics HTTP/1.1"), HasSubstr("200 OK"));
  Ask(page_->address(), "nonsense");
  Get();
}

TEST_F(Metrics, AreServedOverIpv6) {
  const auto page = MetricsPage::Start("[::1]:0", &server_.engine(), &server_.metrics());
  if (!page.ok()) GTEST_SKIP() << "no IPv6 here: " << page.status();
  EXPECT_EQ(Parse(Fetch((*page)->address()))["retnet_healthy"], 1);
}

TEST_F(Metrics, RefuseAnAddressInUse) {
  const auto second =
      MetricsPage::Start(page_->address(), &server_.engine(), &server_.metrics()).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.message()), HasSubstr("--metrics-listen"));
}

}  // namespace
}  // namespace retnet
