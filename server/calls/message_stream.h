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

  // With mu_ held: the next message of what is collected; false when there is nothing.
  virtual bool TakeChunk(grpc::ByteBuffer* message) = 0;
  // With mu_ held: the message that ends the stream of a call without error.
  virtual grpc::ByteBuffer Final() = 0;

  void AllEnded(const absl::Status& status) final;
  // With mu_ held: starts the next write, or ends the call, unless a write is in flight. Call it
  // after collecting something.
  void Pump();
  // With mu_ held: nobody reads any more.
  bool broken() const { return broken_; }

 private:
  grpc::ByteBuffer message_;  // of the write in flight; guarded by mu_, as all below
  bool writing_ = false;
  bool broken_ = false;
  bool ended_ = false;
  bool finished_ = false;
  absl::Status status_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_MESSAGE_STREAM_H_
