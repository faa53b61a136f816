// Streams a session's snapshot to or from a client, in chunks.
#ifndef RETNET_SERVER_CALLS_SNAPSHOT_STREAMS_H_
#define RETNET_SERVER_CALLS_SNAPSHOT_STREAMS_H_

#include <grpcpp/alarm.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/request.h"
#include "retnet/v1/sessions.pb.h"
#include "server/calls/admission.h"
#include "server/calls/open_call.h"

namespace retnet {

// What Export and Import have in common: the call waits for its turn, holds its share of the
// memory, and is ended when its client does nothing for too long. So no client keeps the turns from
// the others.
class SnapshotTransfer : public OpenCall {
 protected:
  SnapshotTransfer(Admission* admission, grpc::CallbackServerContext* context, Tenant client)
      : OpenCall(&admission->in_flight_calls()),
        admission_(admission),
        context_(context),
        client_(std::move(client)) {}

  // Calls OnTurn once `bytes` may be held.
  void AwaitTurn(int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  virtual void OnTurn() = 0;
  // Whether the call waits for its turn. Then gRPC has no operation of it.
  bool waiting() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return ticket_ != 0; }
  // Gives up waiting.
  void Withdraw() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Keeps `bytes` of the share.
  void Shrink(int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { share_.Shrink(bytes); }

  // From now on it is the client's turn to act. `what` says what it does not do if it does nothing:
  // "has taken nothing".
  void AwaitClient(absl::string_view what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The client has done what it was waited for.
  void ClientActed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { awaits_client_ = false; }
  // Why the call was ended because of an idle client. OK: it was not.
  const absl::Status& idle_status() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return idle_status_;
  }
  grpc::CallbackServerContext& context() const { return *context_; }
  Admission& admission() const { return *admission_; }

  // Gives everything back. To be called from OnDone.
  void End();

 private:
  void SetAlarm(absl::Time when) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnAlarm();

  Admission* const admission_;
  grpc::CallbackServerContext* const context_;  // until OnDone
  const Tenant client_;
  TransferTurns::Ticket ticket_ ABSL_GUARDED_BY(mu_) = 0;  // 0: the call does not wait
  TransferTurns::Share share_ ABSL_GUARDED_BY(mu_);
  // Set to when the client would have been idle for too long if it had stopped at the time that the
  // alarm was set: it is not set anew for each message.
  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mu_);
  bool awaits_client_ ABSL_GUARDED_BY(mu_) = false;
  absl::Time awaits_since_ ABSL_GUARDED_BY(mu_);
  absl::string_view awaited_ ABSL_GUARDED_BY(mu_);
  absl::Status idle_status_ ABSL_GUARDED_BY(mu_);
};

class SnapshotExport : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public SnapshotTransfer {
 public:
  SnapshotExport(Admission* admission, grpc::CallbackServerContext* context, Tenant client)
      : SnapshotTransfer(admission, context, std::move(client)) {}

  // Calls `read` once the call may hold `bytes`. `read` must see to it that Send is called once, on
  // any thread.
  void Start(int64_t bytes, std::function<void()> read);
  // Streams the snapshot, or ends the call with its error. May be called instead of Start.
  void Send(absl::StatusOr<std::string> snapshot);

  void OnWriteDone(bool ok) final;
  void OnCancel() final;
  void OnDone() final;

 protected:
  void OnTurn() final;

 private:
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  std::function<void()> read_ ABSL_GUARDED_BY(mu_);
  std::string snapshot_ ABSL_GUARDED_BY(mu_);
  size_t sent_ ABSL_GUARDED_BY(mu_) = 0;  // bytes
  grpc::ByteBuffer message_ ABSL_GUARDED_BY(mu_);
};

class SnapshotImport : public grpc::ServerReadReactor<grpc::ByteBuffer>, public SnapshotTransfer {
 public:
  // Called with a complete snapshot. It must see to it that `end` is called once, on any thread.
  using Received = std::function<void(const v1::CreateSessionRequest& session, std::string snapshot,
                                      std::function<void(const absl::Status&)> end)>;

  // Refuses a snapshot of more than `max_bytes` bytes.
  SnapshotImport(Admission* admission, grpc::CallbackServerContext* context, Tenant client,
                 int64_t max_bytes, Received received)
      : SnapshotTransfer(admission, context, std::move(client)),
        max_bytes_(max_bytes),
        received_(std::move(received)) {}

  // Call this after Open. A call that is not admitted ends with that error.
  void Start(const absl::Status& admitted);

  void OnReadDone(bool ok) final;
  void OnCancel() final;
  void OnDone() final;

 protected:
  void OnTurn() final;

 private:
  absl::Status Take() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReadNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int64_t max_bytes_;
  const Received received_;
  grpc::ByteBuffer message_ ABSL_GUARDED_BY(mu_);
  bool begun_ ABSL_GUARDED_BY(mu_) = false;
  v1::CreateSessionRequest session_ ABSL_GUARDED_BY(mu_);
  std::string snapshot_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_SNAPSHOT_STREAMS_H_
