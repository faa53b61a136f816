// The writing half of a streaming call that runs on the engine: one write in flight, the rest waits
// here.
#ifndef RETNET_SERVER_CALLS_MESSAGE_STREAM_H_
#define RETNET_SERVER_CALLS_MESSAGE_STREAM_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "server/calls/engine_call.h"

namespace retnet {

// Never blocks: a reader slower than the model finds its answers collected by the subclass. A
// client that has gone is noticed by OnCancel or a failed write, and its samples are cancelled.
// Every callback of gRPC takes mu_ before it touches a member.
class MessageStream : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public EngineCall {
 public:
  void OnWriteDone(bool ok) final;
  void OnCancel() final { Cancel(); }
  void OnDone() final { Close(); }

 protected:
  using EngineCall::EngineCall;

  // The next message of what is collected; false when there is nothing.
  virtual bool TakeChunk(grpc::ByteBuffer* message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  // The message that ends the stream of a call without error.
  virtual grpc::ByteBuffer Final() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;

  void AllEnded(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  // Starts the next write, or ends the call, unless a write is in flight. Call it after collecting
  // something.
  void Pump() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Nobody reads any more.
  bool broken() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return broken_; }

 private:
  grpc::ByteBuffer message_ ABSL_GUARDED_BY(mu_);  // of the write in flight
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_MESSAGE_STREAM_H_
