// Streams a session's snapshot to or from a client, in chunks.
#ifndef RETNET_SERVER_CALLS_SNAPSHOT_STREAMS_H_
#define RETNET_SERVER_CALLS_SNAPSHOT_STREAMS_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "retnet/v1/sessions.pb.h"
#include "server/calls/admission.h"
#include "server/calls/open_call.h"

namespace retnet {

class SnapshotExport : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public OpenCall {
 public:
  explicit SnapshotExport(Admission* admission) : OpenCall(&admission->in_flight_calls()) {}

  // Streams the snapshot, or ends the call with its error. Call this once, from any thread.
  void Send(absl::StatusOr<std::string> snapshot);

  void OnWriteDone(bool ok) final;
  void OnDone() final { Close(); }

 private:
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  std::string snapshot_ ABSL_GUARDED_BY(mu_);
  size_t sent_ ABSL_GUARDED_BY(mu_) = 0;  // bytes
  grpc::ByteBuffer message_ ABSL_GUARDED_BY(mu_);
};

class SnapshotImport : public grpc::ServerReadReactor<grpc::ByteBuffer>, public OpenCall {
 public:
  // Called with a complete snapshot. It must see to it that `end` is called once, on any thread.
  using Received = std::function<void(const v1::CreateSessionRequest& session, std::string snapshot,
                                      std::function<void(const absl::Status&)> end)>;

  // Refuses a snapshot of more than `max_bytes` bytes.
  SnapshotImport(Admission* admission, int64_t max_bytes, Received received)
      : OpenCall(&admission->in_flight_calls()),
        admission_(admission),
        max_bytes_(max_bytes),
        received_(std::move(received)) {}

  // Call this after Open. A call that is not admitted ends with that error.
  void Start(const absl::Status& admitted);

  void OnReadDone(bool ok) final;
  void OnDone() final { Close(); }

 private:
  absl::Status Take() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Admission* const admission_;
  const int64_t max_bytes_;
  const Received received_;
  grpc::ByteBuffer message_ ABSL_GUARDED_BY(mu_);
  bool begun_ ABSL_GUARDED_BY(mu_) = false;
  v1::CreateSessionRequest session_ ABSL_GUARDED_BY(mu_);
  std::string snapshot_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_SNAPSHOT_STREAMS_H_
