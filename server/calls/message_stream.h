// The output of a streaming call that runs on the engine. One write is in flight; the rest waits.
#ifndef RETNET_SERVER_CALLS_MESSAGE_STREAM_H_
#define RETNET_SERVER_CALLS_MESSAGE_STREAM_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>

#include "absl/status/status.h"
#include "server/calls/admission.h"
#include "server/calls/engine_call.h"

namespace retnet {

// Never blocks. If the reader is slower than the model, the subclass collects the results, within
// the bound of UnreadOutput. If the client has gone, OnCancel or a failed write shows it, and the
// samples are cancelled.
// Every callback of gRPC takes mu_ before it touches a member.
class MessageStream : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public EngineCall {
 public:
  void OnWriteDone(bool ok) final;
  void OnCancel() final { Cancel(); }
  void OnDone() final;
  void EndUnread(const absl::Status& status) final;

 protected:
  MessageStream(Admission* admission, grpc::CallbackServerContext* context)
      : EngineCall(&admission->in_flight_calls()),
        context_(context),
        unread_(&admission->unread_output()) {}

  // Makes the next message of the collected results. Returns false if there is none.
  virtual bool TakeChunk(grpc::ByteBuffer* message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  // The memory of the collected results, about.
  virtual int64_t WaitingBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  // Makes the last message of a call that ended without error.
  virtual grpc::ByteBuffer Final() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;

  void AllEnded(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  // Starts the next write or ends the call, unless a write is in flight. Call this after collecting
  // results.
  void Pump() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // True if the client no longer reads.
  bool broken() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return broken_; }

 private:
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  grpc::CallbackServerContext* const context_;  // until OnDone
  UnreadOutput::Share unread_ ABSL_GUARDED_BY(mu_);
  absl::Status unread_status_ ABSL_GUARDED_BY(mu_);  // why the call was ended; OK: it was not
  grpc::ByteBuffer message_ ABSL_GUARDED_BY(mu_);    // of the write in flight
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_MESSAGE_STREAM_H_
