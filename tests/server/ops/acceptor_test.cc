// Listening and accepting, over real sockets, also when descriptors run out.
#include "server/ops/acceptor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/mutex.h"
#include "server/ops/listener.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A folder of its own, for sockets.
std::string MakeFolder() {
  std::string folder = ::testing::TempDir() + "acceptor_XXXXXX";
  EXPECT_NE(mkdtemp(folder.data()), nullptr);
  return folder;
}

bool Exists(const std::string& path) {
  struct stat file = {};
  return lstat(path.c_str(), &file) == 0;
}

int PortOf(const std::string& address) {
  return std::atoi(address.substr(address.rfind(':') + 1).c_str());
}

FileDescriptor NewSocket() {
  return FileDescriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

// To 127.0.0.1. Whether it worked.
bool Connect(const FileDescriptor& connection, int port) {
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(static_cast<uint16_t>(port));
  return connect(connection.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0;
}

FileDescriptor Connect(int port) {
  FileDescriptor connection = NewSocket();
  if (!Connect(connection, port)) connection.Close();
  return connection;
}

FileDescriptor Connect6(int port) {
  FileDescriptor connection(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 to = {};
  to.sin6_family = AF_INET6;
  to.sin6_addr = in6addr_loopback;
  to.sin6_port = htons(static_cast<uint16_t>(port));
  if (connect(connection.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0) {
    connection.Close();
  }
  return connection;
}

FileDescriptor ConnectUnix(const std::string& path) {
  FileDescriptor connection(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un to = {};
  to.sun_family = AF_UNIX;
  path.copy(to.sun_path, sizeof(to.sun_path) - 1);
  if (connect(connection.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0) {
    connection.Close();
  }
  return connection;
}

// Whether the other side has closed. Waits for a byte or the end.
bool IsClosed(const FileDescriptor& connection) {
  char byte;
  return recv(connection.get(), &byte, 1, 0) <= 0;
}

// Sends a byte on what it accepts, and keeps it.
class Greeter {
 public:
  Greeter(Listener listener, int reserve)
      : acceptor_(
            std::move(listener), reserve,
            [this](FileDescriptor connection, int /*listening_socket*/) {
              EXPECT_EQ(send(connection.get(), "x", 1, MSG_NOSIGNAL), 1);
              const MutexLock lock(&mu_);
              connections_.push_back(std::move(connection));
            },
            [this](const absl::Status& why) {
              const MutexLock lock(&mu_);
              why_ = why;
              failed_.NotifyAll();
            }) {}

  int port() const { return PortOf(acceptor_.address()); }
  size_t connections() {
    const MutexLock lock(&mu_);
    return connections_.size();
  }
  void CloseAll() {
    const MutexLock lock(&mu_);
    connections_.clear();
  }
  absl::Status AwaitFailure() {
    MutexLock lock(&mu_);
    while (why_.ok()) failed_.Wait(&mu_);
    return why_;
  }

 private:
  Mutex mu_;
  std::vector<FileDescriptor> connections_ ABSL_GUARDED_BY(mu_);
  absl::Status why_ ABSL_GUARDED_BY(mu_);
  CondVar failed_;  // why_ is set
  Acceptor acceptor_;
};

Listener Bind(const std::string& address) {
  absl::StatusOr<Listener> listener = Listener::Bind(address, {});
  EXPECT_TRUE(listener.ok()) << listener.status();
  return *std::move(listener);
}

std::string BindError(const std::string& address) {
  const absl::StatusOr<Listener> listener = Listener::Bind(address, {});
  EXPECT_EQ(listener.status().code(), absl::StatusCode::kFailedPrecondition);
  return std::string(listener.status().message());
}

TEST(ListenAddress, IsHostAndPortOrAPath) {
  EXPECT_EQ(ParseListenAddress("[::1]:7")->host, "[::1]");
  EXPECT_EQ(ParseListenAddress("[::1]:7")->port, 7);
  EXPECT_EQ(ParseListenAddress("unix:a/b")->unix_path, "a/b");
  EXPECT_EQ(ParseListenAddress("unix:/a/b")->unix_path, "/a/b");
  EXPECT_EQ(ParseListenAddress("unix:///a/b")->unix_path, "/a/b");
  // A name in the file system has room for 107 bytes.
  EXPECT_TRUE(ParseListenAddress("unix:" + std::string(106, 'a')).ok());
  EXPECT_TRUE(ParseListenAddress("unix:" + std::string(107, 'a')).ok());
  for (const std::string bad : {"unix:", "::1:7", "nowhere", "host:65536", "host:-1"}) {
    EXPECT_FALSE(ParseListenAddress(bad).ok()) << bad;
  }
  EXPECT_THAT(std::string(ParseListenAddress("unix:" + std::string(108, 'a')).status().message()),
              HasSubstr("1 to 107 bytes"));
  EXPECT_FALSE(ParseHostAndPort("unix:/a/b").ok());
}

TEST(Listener, BindsEveryAddressOfAName) {
  const Listener listener = Bind("localhost:0");
  EXPECT_THAT(listener.address(), StartsWith("localhost:"));
  EXPECT_TRUE(Connect(PortOf(listener.address())).valid());
}

TEST(Listener, TakesBothKindsOfAddressesForAny) {
  const bool has_ipv6 = FileDescriptor(socket(AF_INET6, SOCK_STREAM, 0)).valid();
  for (const std::string any : {"0.0.0.0:0", "[::]:0"}) {
    const Listener listener = Bind(any);
    EXPECT_TRUE(Connect(PortOf(listener.address())).valid()) << any;
    if (!has_ipv6) continue;
    EXPECT_TRUE(Connect6(PortOf(listener.address())).valid()) << any;
  }
}

TEST(Listener, SaysWhyItCannotListen) {
  const Listener first = Bind("127.0.0.1:0");
  EXPECT_THAT(BindError(first.address()), HasSubstr("the port is in use"));
  EXPECT_THAT(BindError("localhost:" + std::to_string(PortOf(first.address()))),
              HasSubstr("the port is in use"));
  EXPECT_THAT(BindError("192.0.2.1:0"), HasSubstr("is not this machine's"));
  const std::string unknown = BindError("no-such-host.invalid:0");
  EXPECT_THAT(unknown, HasSubstr("does not resolve"));
  EXPECT_THAT(unknown, Not(HasSubstr("in use")));
  EXPECT_THAT(BindError("unix:/no/such/folder/s"), HasSubstr("No such file"));
}

TEST(Listener, ReplacesTheFileOfASocketThatNobodyListensOn) {
  const std::string path = MakeFolder() + "/s";
  {
    const Listener listener = Bind("unix:" + path);
    EXPECT_EQ(listener.address(), "unix:" + path);
    EXPECT_TRUE(ConnectUnix(path).valid());
    EXPECT_THAT(BindError("unix:" + path), HasSubstr("another process listens there"));
    EXPECT_TRUE(ConnectUnix(path).valid());
  }
  EXPECT_FALSE(Exists(path));
  {
    // As a killed process leaves it.
    sockaddr_un where = {};
    where.sun_family = AF_UNIX;
    path.copy(where.sun_path, sizeof(where.sun_path) - 1);
    const FileDescriptor dead(socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(bind(dead.get(), reinterpret_cast<sockaddr*>(&where), sizeof(where)), 0);
  }
  ASSERT_TRUE(Exists(path));
  const Listener listener = Bind("unix:" + path);
  EXPECT_TRUE(ConnectUnix(path).valid());
}

TEST(Listener, LeavesFilesOfOthersAlone) {
  const std::string path = MakeFolder() + "/s";
  std::ofstream(path) << "mine";
  EXPECT_THAT(BindError("unix:" + path), HasSubstr("not a socket"));
  EXPECT_TRUE(Exists(path));
  unlink(path.c_str());
  {
    const Listener listener = Bind("unix:" + path);
    unlink(path.c_str());
    std::ofstream(path) << "mine";
  }
  EXPECT_TRUE(Exists(path));
}

// Takes the limit of this process down, and puts it back.
class DescriptorLimitOf {
 public:
  explicit DescriptorLimitOf(int limit) {
    getrlimit(RLIMIT_NOFILE, &before_);
    rlimit lower = before_;
    lower.rlim_cur = limit;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0);
  }
  ~DescriptorLimitOf() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_ = {};
};

// The number that the next descriptor gets.
int NextDescriptor() { return FileDescriptor(dup(0)).get(); }

TEST(Acceptor, ClosesConnectionsThatComeNearTheLimit) {
  Greeter greeter(Bind("127.0.0.1:0"), /*reserve=*/10);
  constexpr int kAccepted = 8;
  // Made in advance, so that the numbers from here on are those of the server's ends alone.
  std::vector<FileDescriptor> clients;
  for (int i = 0; i < kAccepted + 2; ++i) clients.push_back(NewSocket());
  const DescriptorLimitOf limit(NextDescriptor() + kAccepted + 10);
  for (int i = 0; i < clients.size(); ++i) {
    ASSERT_TRUE(Connect(clients[i], greeter.port()));
    EXPECT_EQ(IsClosed(clients[i]), i >= kAccepted) << i;
  }
  EXPECT_EQ(greeter.connections(), kAccepted);
  clients.clear();
  greeter.CloseAll();
  EXPECT_FALSE(IsClosed(Connect(greeter.port())));
}

TEST(Acceptor, OutlivesThatNoDescriptorIsLeft) {
  Greeter greeter(Bind("127.0.0.1:0"), /*reserve=*/0);
  {
    const FileDescriptor client = NewSocket();
    const DescriptorLimitOf limit(NextDescriptor());
    ASSERT_TRUE(Connect(client, greeter.port()));
    EXPECT_TRUE(IsClosed(client));
  }
  EXPECT_FALSE(IsClosed(Connect(greeter.port())));
}

TEST(Acceptor, TellsWhenItCanAcceptNothingMore) {
  Listener listener = Bind("127.0.0.1:0");
  const int listening = listener.sockets().front().get();
  Greeter greeter(std::move(listener), /*reserve=*/0);
  EXPECT_FALSE(IsClosed(Connect(greeter.port())));
  shutdown(listening, SHUT_RDWR);
  EXPECT_THAT(std::string(greeter.AwaitFailure().message()),
              HasSubstr("cannot accept connections"));
}

}  // namespace
}  // namespace retnet
