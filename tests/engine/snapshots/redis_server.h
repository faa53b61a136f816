// A redis-server of a test's own, on a free port, which keeps its data when it is started again.
#ifndef RETNET_TESTS_ENGINE_SNAPSHOTS_REDIS_SERVER_H_
#define RETNET_TESTS_ENGINE_SNAPSHOTS_REDIS_SERVER_H_

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "tests/server/process.h"

namespace retnet {

class RedisServer {
 public:
  // Whether the binary is there; a test that needs it is skipped without.
  static bool Installed();

  // Not started. `options` go behind those that keep it apart from others.
  explicit RedisServer(std::vector<std::string> options = {});
  ~RedisServer();

  // Returns when it accepts connections.
  void Start();
  // Ends it as an administrator would; Kill, at once.
  void Stop();
  void Kill();
  // Between these it takes connections, by the system's hand, but answers nothing.
  void Freeze() { process_->Signal(SIGSTOP); }
  void Thaw() { process_->Signal(SIGCONT); }

  int port() const { return port_; }
  std::string url() const { return "redis://127.0.0.1:" + std::to_string(port_); }

 private:
  const std::vector<std::string> options_;
  const int port_;
  std::string folder_;
  std::unique_ptr<Process> process_;
};

}  // namespace retnet

#endif  // RETNET_TESTS_ENGINE_SNAPSHOTS_REDIS_SERVER_H_
