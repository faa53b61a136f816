#include "server/ops/http_server.h"

#include <microhttpd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/ops/logging.h"

namespace retnet {
namespace {

constexpr int kMostConnections = 64;
// Less than a server of gRPC reserves: pages are there when clients have taken all else.
constexpr int kReservedDescriptors = 8;
constexpr unsigned kIdleSeconds = 120;  // longer than between two scrapes

// Where descriptors are few, these connections leave most of them to clients.
int MostConnections() { return std::clamp(DescriptorLimit() / 8, 1, kMostConnections); }

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(Listener listener,
                                                              std::map<std::string, Page> pages) {
  auto server = std::unique_ptr<HttpServer>(new HttpServer(std::move(pages), listener.address()));
  const MHD_AccessHandlerCallback respond =
      [](void* self, MHD_Connection* connection, const char* path, const char* method,
         const char* /*version*/, const char* /*body*/, size_t* body_bytes, void** seen) {
        // The first call comes after the head. Who answers then gives up the connection.
        static char marker;
        if (std::exchange(*seen, &marker) == nullptr) return MHD_YES;
        if (std::exchange(*body_bytes, 0) != 0) return MHD_YES;  // nobody wants it
        return static_cast<HttpServer*>(self)->Respond(connection, path, method) ? MHD_YES : MHD_NO;
      };
  const MHD_NotifyConnectionCallback notify = [](void* self, MHD_Connection* connection,
                                                 void** /*context*/,
                                                 MHD_ConnectionNotificationCode code) {
    if (code != MHD_CONNECTION_NOTIFY_CLOSED) return;
    static_cast<HttpServer*>(self)->Forget(
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd);
  };
  // Connections that are being closed count until they are.
  server->daemon_ = MHD_start_daemon(
      MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC, /*port=*/0, nullptr,
      nullptr, respond, server.get(), MHD_OPTION_NOTIFY_CONNECTION, notify, server.get(),
      MHD_OPTION_CONNECTION_LIMIT, 4U * kMostConnections, MHD_OPTION_CONNECTION_TIMEOUT,
      kIdleSeconds, MHD_OPTION_END);
  if (server->daemon_ == nullptr) return absl::InternalError("cannot start an HTTP server");
  server->acceptor_.emplace(
      std::move(listener), kReservedDescriptors,
      [self = server.get()](FileDescriptor connection, int /*listening_socket*/) {
        self->Take(std::move(connection));
      },
      [](const absl::Status& why) {
        Log(LogLevel::kWarning, absl::StrCat("no pages over HTTP any more: ", why.message()));
      });
  return server;
}

HttpServer::~HttpServer() {
  acceptor_.reset();
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
}

void HttpServer::Take(FileDescriptor connection) {
  const int number = connection.Release();
  sockaddr_storage peer = {};
  socklen_t size = sizeof(peer);
  getpeername(number, reinterpret_cast<sockaddr*>(&peer), &size);
  {
    const MutexLock lock(&mu_);
    if (connections_.size() >= MostConnections()) {
      // The daemon finds it ended, and closes it.
      shutdown(connections_.front(), SHUT_RDWR);
      connections_.pop_front();
    }
    connections_.push_back(number);
  }
  // Closes the socket if it does not take it.
  if (MHD_add_connection(daemon_, number, reinterpret_cast<const sockaddr*>(&peer), size) !=
      MHD_YES) {
    Forget(number);
  }
}

void HttpServer::Forget(int connection) {
  const MutexLock lock(&mu_);
  connections_.remove(connection);
}

bool HttpServer::Respond(MHD_Connection* connection, const std::string& path,
                         const std::string& method) {
  Answer answer{404, "text/plain", "no such page\n"};
  if (method != MHD_HTTP_METHOD_GET && method != MHD_HTTP_METHOD_HEAD) {
    answer = {405, "text/plain", "only GET and HEAD are answered\n"};
  } else if (const auto page = pages_.find(path); page != pages_.end()) {
    answer = page->second();
  }
  MHD_Response* response = MHD_create_response_from_buffer(answer.body.size(), answer.body.data(),
                                                           MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return false;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer.content_type.c_str());
  const bool queued = MHD_queue_response(connection, answer.code, response) == MHD_YES;
  MHD_destroy_response(response);
  return queued;
}

}  // namespace retnet
