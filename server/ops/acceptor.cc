#include "server/ops/acceptor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "server/ops/logging.h"

namespace retnet {
namespace {

// Of one socket, before the others have their turn.
constexpr int kConnectionsInARow = 64;
constexpr int kPauseMilliseconds = 50;
constexpr absl::Duration kLogInterval = absl::Seconds(10);

FileDescriptor OpenSpare() { return FileDescriptor(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

int Accept(int listening_socket) {
  return accept4(listening_socket, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

// What a failed accept() means.
enum class Failure {
  kNothingWaits,
  kOneConnection,  // it is gone, or a firewall forbids it; the next one may do
  kNoDescriptor,
  kNoMemory,
  kForEver,
};

Failure FailureOf(int error) {
  switch (error) {
    case EAGAIN:
      return Failure::kNothingWaits;
    case EINTR:
    case ECONNABORTED:
    case EPERM:
    // accept(2): errors of the network that were pending on the new connection.
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ETIMEDOUT:
      return Failure::kOneConnection;
    case EMFILE:
    case ENFILE:
      return Failure::kNoDescriptor;
    case ENOBUFS:
    case ENOMEM:
      return Failure::kNoMemory;
    default:
      return Failure::kForEver;
  }
}

}  // namespace

Acceptor::Acceptor(Listener listener, int reserve, Take take, Failed failed)
    : listener_(std::move(listener)),
      reserve_(reserve),
      take_(std::move(take)),
      failed_(std::move(failed)),
      stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      spare_(OpenSpare()),
      thread_([this] { Run(); }) {}

Acceptor::~Acceptor() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

void Acceptor::Run() {
  std::vector<pollfd> polled = {{stop_.get(), POLLIN, 0}};
  for (const FileDescriptor& socket : listener_.sockets()) {
    polled.push_back({socket.get(), POLLIN, 0});
  }
  while (true) {
    poll(polled.data(), polled.size(), -1);
    if (polled[0].revents != 0) return;
    for (size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents == 0) continue;
      if (const absl::Status status = AcceptSome(polled[i].fd); !status.ok()) {
        return failed_(status);
      }
    }
  }
}

absl::Status Acceptor::AcceptSome(int listening_socket) {
  for (int i = 0; i < kConnectionsInARow; ++i) {
    FileDescriptor connection(Accept(listening_socket));
    if (connection.valid()) {
      TakeOrClose(std::move(connection), listening_socket);
      continue;
    }
    const int error = errno;
    switch (FailureOf(error)) {
      case Failure::kNothingWaits:
        return absl::OkStatus();
      case Failure::kOneConnection:
        break;
      case Failure::kNoDescriptor:
        CloseWithSpare(listening_socket);
        break;
      case Failure::kNoMemory:
        Pause();
        return absl::OkStatus();
      case Failure::kForEver:
        return absl::ErrnoToStatus(error, absl::StrCat("cannot accept connections on ", address()));
    }
  }
  return absl::OkStatus();
}

void Acceptor::TakeOrClose(FileDescriptor connection, int listening_socket) {
  // A new descriptor has the lowest free number. The limit is read again because an operator may
  // change it (prlimit).
  if (connection.get() < DescriptorLimit() - reserve_) {
    take_(std::move(connection), listening_socket);
  } else {
    connection.Close();
    LogClosed();
  }
}

void Acceptor::CloseWithSpare(int listening_socket) {
  // Left alone, the connection would keep the socket readable, and the client waiting.
  spare_.Close();
  FileDescriptor(Accept(listening_socket)).Close();
  spare_ = OpenSpare();
  LogClosed();
  // The rest of the system is short of descriptors, too.
  Pause();
}

void Acceptor::Pause() const {
  pollfd stop = {stop_.get(), POLLIN, 0};
  poll(&stop, 1, kPauseMilliseconds);
}

void Acceptor::LogClosed() {
  ++closed_;
  const absl::Time now = absl::Now();
  if (now < next_log_) return;
  Log(LogLevel::kWarning,
      absl::StrCat("closed ", std::exchange(closed_, 0), " new connections on ", address(),
                   ": open files come near their limit of ", DescriptorLimit(),
                   "; raise it (ulimit -Hn, LimitNOFILE=) or find out who holds connections"));
  next_log_ = now + kLogInterval;
}

}  // namespace retnet
