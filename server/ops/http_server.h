// A small HTTP server for pages that operators and their tools fetch.
#ifndef RETNET_SERVER_OPS_HTTP_SERVER_H_
#define RETNET_SERVER_OPS_HTTP_SERVER_H_

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/mutex.h"
#include "server/ops/acceptor.h"
#include "server/ops/listener.h"

struct MHD_Daemon;
struct MHD_Connection;

namespace retnet {

// Answers GET and HEAD on one thread that waits for no connection. The number of connections is
// bounded: a new one closes the oldest. So connections that are idle or slow never keep a page from
// others. Thread-safe.
class HttpServer {
 public:
  struct Answer {
    int code = 200;
    std::string content_type;
    std::string body;
  };
  // Makes a page. Runs on the server's thread and keeps other pages waiting.
  using Page = std::function<Answer()>;

  // `pages` by path, such as "/metrics".
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(Listener listener,
                                                           std::map<std::string, Page> pages);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;

  // HOST:PORT with the port in use.
  const std::string& address() const { return address_; }

 private:
  explicit HttpServer(std::map<std::string, Page> pages, std::string address)
      : pages_(std::move(pages)), address_(std::move(address)) {}

  void Take(FileDescriptor connection);
  bool Respond(MHD_Connection* connection, const std::string& path, const std::string& method);
  void Forget(int connection);

  const std::map<std::string, Page> pages_;
  const std::string address_;
  MHD_Daemon* daemon_ = nullptr;  // constant after Start

  Mutex mu_;
  // Sockets of open connections, the oldest first. Each leaves the list before it is closed.
  std::list<int> connections_ ABSL_GUARDED_BY(mu_);

  std::optional<Acceptor> acceptor_;  // constant after Start; ends before the daemon
};

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_HTTP_SERVER_H_
