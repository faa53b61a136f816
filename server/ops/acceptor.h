// Accepts connections, and goes on accepting when descriptors are short.
#ifndef RETNET_SERVER_OPS_ACCEPTOR_H_
#define RETNET_SERVER_OPS_ACCEPTOR_H_

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/ops/file_descriptor.h"
#include "server/ops/listener.h"

namespace retnet {

// A thread that accepts the connections of a Listener and gives them to somebody. The process needs
// descriptors for more than connections: a new one is closed at once if its number comes within a
// reserve of the limit. So accept() itself does not fail for want of one, and as soon as others
// have left, new clients are served. Thread-safe.
class Acceptor {
 public:
  // Takes a non-blocking socket, which is the callee's from then on, and the listening one that it
  // came from, which is not.
  using Take = std::function<void(FileDescriptor connection, int listening_socket)>;
  // Called once if no connection can be accepted any more.
  using Failed = std::function<void(const absl::Status& why)>;

  // Both are called on the thread. `reserve` is a number of descriptors.
  Acceptor(Listener listener, int reserve, Take take, Failed failed);
  // Stops listening: connections that are not accepted yet are reset. Does not wait for connections
  // that were given away.
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;

  // HOST:PORT with the port in use, or unix:PATH.
  const std::string& address() const { return listener_.address(); }

 private:
  void Run();
  // Accepts what waits on one socket. An error means that nothing more will ever come.
  absl::Status AcceptSome(int listening_socket);
  void TakeOrClose(FileDescriptor connection, int listening_socket);
  // Closes a connection for which there is no descriptor but the spare one.
  void CloseWithSpare(int listening_socket);
  // Waits a moment, or until the destructor runs.
  void Pause() const;
  void LogClosed();

  const Listener listener_;
  const int reserve_;
  const Take take_;
  const Failed failed_;
  const FileDescriptor stop_;  // an eventfd; readable when the thread shall end
  FileDescriptor spare_;       // given up for a moment to accept a connection and close it
  int64_t closed_ = 0;         // connections, since the last log line about them
  absl::Time next_log_ = absl::InfinitePast();
  std::thread thread_;  // uses everything above
};

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_ACCEPTOR_H_
