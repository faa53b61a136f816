// Connections that open calls only to reset them.
#include "server/ops/reset_limit.h"

#include <arpa/inet.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/ops/file_descriptor.h"
#include "server/ops/listener.h"
#include "tests/server/fake_server.h"

namespace retnet {
namespace {

TEST(ResetLimit, IsABurstAndSomeEachSecond) {
  ResetLimit limit(10, /*each_second=*/1000);
  absl::Time now = absl::UnixEpoch();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(limit.Count("ipv4:1.2.3.4:5", now)) << i;
  // Peers do not share it, and one that is over it begins again.
  EXPECT_FALSE(limit.Count("ipv4:1.2.3.4:6", now));
  EXPECT_TRUE(limit.Count("ipv4:1.2.3.4:5", now));
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(limit.Count("ipv4:1.2.3.4:5", now)) << i;
  now += absl::Milliseconds(3);  // three of them
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(limit.Count("ipv4:1.2.3.4:5", now)) << i;
  EXPECT_TRUE(limit.Count("ipv4:1.2.3.4:5", now));
  // Whatever passes, no more than the burst.
  now += absl::Hours(1);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(limit.Count("ipv4:1.2.3.4:6", now)) << i;
  EXPECT_TRUE(limit.Count("ipv4:1.2.3.4:6", now));
}

TEST(ResetLimit, RemembersAnAttackerAmongManyPeers) {
  ResetLimit limit(10);
  const absl::Time now = absl::UnixEpoch();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(limit.Count("ipv4:1.2.3.4:5", now));
  for (int i = 0; i < 5000; ++i) limit.Count(std::to_string(i), now);
  EXPECT_TRUE(limit.Count("ipv4:1.2.3.4:5", now));
}

int PortOf(const std::string& address) {
  return std::atoi(address.substr(address.rfind(':') + 1).c_str());
}

// To this machine, in the family of the address.
FileDescriptor Connect(const std::string& address) {
  const bool v6 = address.starts_with('[');
  sockaddr_in to_v4 = {};
  to_v4.sin_family = AF_INET;
  to_v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to_v4.sin_port = htons(PortOf(address));
  sockaddr_in6 to_v6 = {};
  to_v6.sin6_family = AF_INET6;
  to_v6.sin6_addr = in6addr_loopback;
  to_v6.sin6_port = to_v4.sin_port;
  FileDescriptor connection(socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto* to =
      v6 ? reinterpret_cast<const sockaddr*>(&to_v6) : reinterpret_cast<const sockaddr*>(&to_v4);
  EXPECT_EQ(connect(connection.get(), to, v6 ? sizeof(to_v6) : sizeof(to_v4)), 0);
  return connection;
}

// A client's connection by hand, which can be told from those of gRPC's clients.
class Http2 {
 public:
  explicit Http2(const std::string& address) : socket_(Connect(address)) {
    bytes_ = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    AddFrame(/*type=*/4, /*flags=*/0, /*stream=*/0, "");  // SETTINGS
  }

  // A call that is reset at once.
  void AddResetCall(int number) {
    const auto header = [](const std::string& name, const std::string& value) {
      return std::string(1, '\0') + static_cast<char>(name.size()) + name +
             static_cast<char>(value.size()) + value;
    };
    const std::string head = header(":method", "POST") + header(":scheme", "http") +
                             header(":path", "/grpc.health.v1.Health/Watch") +
                             header(":authority", "here") + header("te", "trailers") +
                             header("content-type", "application/grpc");
    AddFrame(/*type=*/1, /*flags=*/4, 2 * number + 1, head);
    AddFrame(/*type=*/3, /*flags=*/0, 2 * number + 1, std::string("\0\0\0\x08", 4));
  }

  // Whether the server still takes it all.
  bool Send() {
    size_t sent = 0;
    while (sent < bytes_.size()) {
      const ssize_t some =
          send(socket_.get(), bytes_.data() + sent, bytes_.size() - sent, MSG_NOSIGNAL);
      if (some <= 0) return false;
      sent += some;
    }
    bytes_.clear();
    return true;
  }

  // Reads until the server closes.
  void AwaitEnd() {
    char buffer[4096];
    while (recv(socket_.get(), buffer, sizeof(buffer), 0) > 0) {
    }
  }

 private:
  void AddFrame(char type, char flags, uint32_t stream, const std::string& payload) {
    const uint32_t size = htonl(static_cast<uint32_t>(payload.size()) << 8);
    const uint32_t id = htonl(stream);
    bytes_.append(reinterpret_cast<const char*>(&size), 3);
    bytes_ += type;
    bytes_ += flags;
    bytes_.append(reinterpret_cast<const char*>(&id), 4);
    bytes_ += payload;
  }

  const FileDescriptor socket_;
  std::string bytes_;  // not sent yet
};

// A server of nothing but health, whose limit does not grow with time: how fast the machine is then
// does not matter.
class LimitedServer {
 public:
  explicit LimitedServer(int32_t burst) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> limits;
    limits.push_back(std::make_unique<ResetLimit>(burst, /*each_second=*/0));
    builder.experimental().SetInterceptorCreators(std::move(limits));
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  int port_ = 0;
  // gRPC wants one that is made of callbacks.
  v1::Generation::CallbackService service_;
  std::unique_ptr<grpc::Server> server_;
};

TEST(ResetLimit, CutsAFloodAndNobodyElse) {
  const LimitedServer server(/*burst=*/100);
  const auto beside = grpc::health::v1::Health::NewStub(
      grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  const auto watch = beside->Watch(&context, {});
  grpc::health::v1::HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  Http2 attacker(server.address());
  for (int i = 0; i < 101; ++i) attacker.AddResetCall(i);
  attacker.Send();
  attacker.AwaitEnd();
  // The stream goes on, on its connection.
  grpc::ClientContext second;
  EXPECT_TRUE(beside->Check(&second, {}, &response).ok());
  context.TryCancel();
  while (watch->Read(&response)) {
  }
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST(ResetLimit, BearsAClientThatGivesUpAllItsCalls) {
  FakeServer server;
  const auto channel = server.NewChannel();
  const auto stub = v1::Generation::NewStub(channel);
  server.control().Hold();
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
    std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>> calls;
    for (int i = 0; i < 300; ++i) {
      contexts.push_back(std::make_unique<grpc::ClientContext>());
      calls.push_back(stub->Generate(contexts.back().get(), GreedyRequest(3)));
    }
    for (const auto& each : contexts) each->TryCancel();
    for (const auto& call : calls) {
      v1::GenerateResponse response;
      while (call->Read(&response)) {
      }
      EXPECT_EQ(call->Finish().error_code(), grpc::StatusCode::CANCELLED);
    }
  }
  server.control().Release();
  EXPECT_EQ(channel->GetState(/*try_to_connect=*/false), GRPC_CHANNEL_READY);
}

TEST(ResetLimit, FindsTheConnectionOfEitherFamily) {
  for (const std::string address : {"127.0.0.1:0", "[::1]:0", "[::]:0"}) {
    const absl::StatusOr<Listener> listener = Listener::Bind(address, {});
    if (!listener.ok()) continue;  // no IPv6 here
    // [::] takes IPv4 as well, which comes as an IPv6 address.
    const std::string to =
        address == "[::]:0" ? listener->address().substr(4) : listener->address();
    const FileDescriptor client = Connect(to);
    const FileDescriptor other = Connect(to);
    sockaddr_storage own = {};
    socklen_t size = sizeof(own);
    getsockname(client.get(), reinterpret_cast<sockaddr*>(&own), &size);
    const int port =
        ntohs(own.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in*>(&own)->sin_port
                                       : reinterpret_cast<const sockaddr_in6*>(&own)->sin6_port);
    const FileDescriptor accepted[] = {
        FileDescriptor(accept4(listener->sockets()[0].get(), nullptr, nullptr, SOCK_CLOEXEC)),
        FileDescriptor(accept4(listener->sockets()[0].get(), nullptr, nullptr, SOCK_CLOEXEC))};
    ASSERT_TRUE(accepted[0].valid() && accepted[1].valid()) << address;
    CutConnection((own.ss_family == AF_INET ? "ipv4:127.0.0.1:" : "ipv6:%5B::1%5D:") +
                  std::to_string(port));
    char byte;
    EXPECT_LE(recv(client.get(), &byte, 1, 0), 0) << address;
    EXPECT_EQ(recv(other.get(), &byte, 1, MSG_DONTWAIT), -1) << address;
  }
}

}  // namespace
}  // namespace retnet
