// Admits calls: of callers that are known, with bounded metadata, until the server drains. Counts
// the calls in flight, and has the bounds that they share.
#ifndef RETNET_SERVER_CALLS_ADMISSION_H_
#define RETNET_SERVER_CALLS_ADMISSION_H_

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/status_macros.h"
#include "server/calls/in_flight_calls.h"
#include "server/calls/metadata_limit.h"
#include "server/calls/stream_limits.h"
#include "server/calls/transfer_turns.h"
#include "server/calls/unread_output.h"
#include "server/identity/authenticator.h"
#include "server/identity/caller.h"
#include "server/wire/messages.h"

namespace retnet {

// Thread-safe. All services of a server share one.
class Admission {
 public:
  // Without an authenticator every caller is anonymous. It must outlive the admission.
  Admission(int32_t max_metadata_bytes, const StreamLimits& streams,
            const Authenticator* authenticator)
      : max_metadata_bytes_(max_metadata_bytes),
        authenticator_(authenticator),
        transfer_idle_(streams.transfer_idle),
        transfer_turns_(streams.transfer_bytes),
        unread_output_(streams.unread_bytes) {}

  // Every call but those of the health service asks here before it does anything else, and learns
  // who makes it. RESOURCE_EXHAUSTED for too much metadata, UNAUTHENTICATED for somebody unknown.
  absl::StatusOr<Caller> Admit(const grpc::CallbackServerContext& context) const {
    RETURN_IF_ERROR(CheckMetadata(context.client_metadata(), max_metadata_bytes_));
    return CallerOf(context, authenticator_);
  }
  // Refuses new calls: every later Read fails.
  void Refuse() { refusing_ = true; }
  // Parses a client's message. UNAVAILABLE after Refuse.
  absl::Status Read(const grpc::ByteBuffer& bytes, google::protobuf::Message* message) const {
    if (refusing_) return absl::UnavailableError("the server is draining; ask another one");
    return ParseMessage(bytes, message);
  }

  // The calls that have begun and whose last byte is not written yet.
  InFlightCalls& in_flight_calls() { return in_flight_calls_; }
  TransferTurns& transfer_turns() { return transfer_turns_; }
  absl::Duration transfer_idle() const { return transfer_idle_; }
  UnreadOutput& unread_output() { return unread_output_; }

 private:
  const int32_t max_metadata_bytes_;
  const Authenticator* const authenticator_;  // may be null
  const absl::Duration transfer_idle_;
  std::atomic<bool> refusing_ = false;
  InFlightCalls in_flight_calls_;
  TransferTurns transfer_turns_;
  UnreadOutput unread_output_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_ADMISSION_H_
