#include "tests/engine/snapshots/redis_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

namespace retnet {
namespace {

constexpr char kBinary[] = "/usr/bin/redis-server";

// Free a moment ago.
int FreePort() {
  const int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(bind(socket_fd, generic, length), 0);
  EXPECT_EQ(getsockname(socket_fd, generic, &length), 0);
  close(socket_fd);
  return ntohs(address.sin_port);
}

}  // namespace

bool RedisServer::Installed() { return access(kBinary, X_OK) == 0; }

RedisServer::RedisServer(std::vector<std::string> options)
    : options_(std::move(options)), port_(FreePort()) {
  folder_ = testing::TempDir() + "redis_XXXXXX";
  EXPECT_NE(mkdtemp(folder_.data()), nullptr);
}

RedisServer::~RedisServer() {
  process_ = nullptr;
  std::filesystem::remove_all(folder_);
}

void RedisServer::Start() {
  std::vector<std::string> arguments = {
      kBinary,  "--port", std::to_string(port_), "--bind", "127.0.0.1",     "--dir",   folder_,
      "--save", "",       "--appendonly",        "yes",    "--appendfsync", "everysec"};
  arguments.insert(arguments.end(), options_.begin(), options_.end());
  process_ = std::make_unique<Process>(arguments);
  std::string line;
  do {
    line = process_->ReadLine();
  } while (!line.empty() && line.find("Ready to accept connections") == line.npos);
  ASSERT_FALSE(line.empty()) << process_->output() << process_->error();
}

void RedisServer::Stop() {
  process_->Signal(SIGTERM);
  process_->Wait();
  process_ = nullptr;
}

void RedisServer::Kill() { process_ = nullptr; }

}  // namespace retnet
