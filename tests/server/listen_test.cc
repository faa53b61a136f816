// Where and how retnetd listens: unix-domain sockets, and few file descriptors.
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/process.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

// retnetd with these flags, started by a shell that runs `before` first.
Process Start(const std::string& before, const std::string& listen) {
  return Process({"/bin/sh", "-c",
                  absl::StrCat(before, "; exec ", RETNETD_PATH, " --max-sequences 4 --model '",
                               ModelFolder(), "' --listen '", listen, "'")});
}

// The address on its first line of output.
std::string Address(Process* process) {
  const std::string line = process->ReadLine();
  EXPECT_THAT(line, HasSubstr("listening on ")) << process->error();
  return line.substr(std::min(line.size(), std::string("listening on ").size()));
}

int RunHealth(const std::string& address) {
  return Process({RETNET_PATH, "--target", address, "health"}).Wait();
}

std::string NewSocketPath() {
  std::string folder = ::testing::TempDir() + "listen_XXXXXX";
  EXPECT_NE(mkdtemp(folder.data()), nullptr);
  return folder + "/socket";
}

TEST(Listen, OnAUnixDomainSocket) {
  const std::string path = NewSocketPath();
  Process server = Start(":", "unix:" + path);
  EXPECT_EQ(Address(&server), "unix:" + path);
  EXPECT_EQ(RunHealth("unix:" + path), 0);
  Process second = Start(":", "unix:" + path);
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.error(), HasSubstr("another process listens there"));
  EXPECT_EQ(RunHealth("unix:" + path), 0);
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Listen, AfterAKilledProcessOnTheSameUnixDomainSocket) {
  const std::string path = NewSocketPath();
  Process server = Start(":", "unix:" + path);
  Address(&server);
  server.Signal(SIGKILL);
  EXPECT_EQ(server.Wait(), -SIGKILL);
  ASSERT_TRUE(std::filesystem::exists(path));
  Process next = Start(":", "unix:" + path);
  Address(&next);
  EXPECT_EQ(RunHealth("unix:" + path), 0);
}

TEST(Listen, NeedsSixtyFourDescriptors) {
  Process few = Start("ulimit -n 63", "127.0.0.1:0");
  EXPECT_EQ(few.Wait(), 1);
  EXPECT_THAT(few.error(), HasSubstr("may open 63 files; it needs at least 64"));
  Process enough = Start("ulimit -n 64", "127.0.0.1:0");
  EXPECT_EQ(RunHealth(Address(&enough)), 0);
}

std::vector<int> ConnectMany(const std::string& address, int count) {
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(std::atoi(address.substr(address.rfind(':') + 1).c_str()));
  std::vector<int> sockets;
  for (int i = 0; i < count; ++i) {
    const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(connection, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
    sockets.push_back(connection);
  }
  return sockets;
}

TEST(Listen, ServesNewClientsOnceAFloodOfConnectionsHasLeft) {
  Process server = Start("ulimit -n 64", "127.0.0.1:0");
  const std::string address = Address(&server);
  const std::vector<int> flood = ConnectMany(address, 100);
  // The server has closed the last of them, so it has seen them all.
  char byte;
  EXPECT_LE(recv(flood.back(), &byte, 1, 0), 0);
  for (const int connection : flood) close(connection);
  EXPECT_EQ(RunHealth(address), 0);
}

TEST(Listen, RaisesTheSoftLimitOfDescriptors) {
  Process server = Start("ulimit -Hn 256; ulimit -Sn 64", "127.0.0.1:0");
  const std::string address = Address(&server);
  const std::vector<int> connections = ConnectMany(address, 100);
  EXPECT_EQ(RunHealth(address), 0);
  for (const int connection : connections) close(connection);
}

// From here on accept4() fails with EINVAL in the calling thread, and in the processes that it
// makes.
bool ForbidAccepting() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_accept4, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {.len = std::size(filter), .filter = filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// Nobody outside of the server can break its listening socket. So the system call fails instead.
TEST(Listen, EndsWhenItCanAcceptNothingMore) {
  std::unique_ptr<Process> server;
  bool forbidden = false;
  std::thread([&] {
    forbidden = ForbidAccepting();
    server = std::make_unique<Process>(std::vector<std::string>{
        RETNETD_PATH, "--model", ModelFolder(), "--listen", "127.0.0.1:0"});
  }).join();
  ASSERT_TRUE(forbidden) << std::strerror(errno);
  const std::vector<int> connections = ConnectMany(Address(server.get()), 1);
  EXPECT_EQ(server->Wait(), 1);
  EXPECT_THAT(server->error(), HasSubstr("cannot accept connections"));
  EXPECT_THAT(server->error(), HasSubstr("not serving any more"));
  for (const int connection : connections) close(connection);
}

}  // namespace
}  // namespace retnet
