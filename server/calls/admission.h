// Admits calls, as far as their metadata is bounded and until the server drains, counts the calls in
// flight, and has the bounds that they share.
#ifndef RETNET_SERVER_CALLS_ADMISSION_H_
#define RETNET_SERVER_CALLS_ADMISSION_H_

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "server/calls/in_flight_calls.h"
#include "server/calls/metadata_limit.h"
#include "server/calls/stream_limits.h"
#include "server/calls/transfer_turns.h"
#include "server/calls/unread_output.h"
#include "server/wire/messages.h"

namespace retnet {

// Thread-safe. All services of a server share one.
class Admission {
 public:
  Admission(int32_t max_metadata_bytes, const StreamLimits& streams)
      : max_metadata_bytes_(max_metadata_bytes),
        transfer_idle_(streams.transfer_idle),
        transfer_turns_(streams.transfer_bytes),
        unread_output_(streams.unread_bytes) {}

  // Every call asks here before it does anything else. RESOURCE_EXHAUSTED for too much metadata.
  absl::Status Admit(const grpc::CallbackServerContext& context) const {
    return CheckMetadata(context.client_metadata(), max_metadata_bytes_);
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
  const absl::Duration transfer_idle_;
  std::atomic<bool> refusing_ = false;
  InFlightCalls in_flight_calls_;
  TransferTurns transfer_turns_;
  UnreadOutput unread_output_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_ADMISSION_H_
