// A call with one request and one answer.
#ifndef RETNET_SERVER_CALLS_UNARY_CALL_H_
#define RETNET_SERVER_CALLS_UNARY_CALL_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/calls/admission.h"
#include "server/calls/open_call.h"

namespace retnet {

// RESOURCE_EXHAUSTED if a client would not receive an answer of so many bytes by default. `advice`
// says what to ask for instead.
absl::Status CheckAnswerBytes(size_t bytes, absl::string_view advice);

class UnaryCall : public grpc::ServerUnaryReactor, public OpenCall {
 public:
  // gRPC owns `answer`, which lives until the call ends.
  UnaryCall(Admission* admission, grpc::CallbackServerContext* context, grpc::ByteBuffer* answer)
      : OpenCall(&admission->in_flight_calls()),
        context_(context),
        unread_(&admission->unread_output()),
        answer_(answer) {}

  // Ends the call with this answer, or with the error of CheckAnswerBytes.
  void Answer(const google::protobuf::Message& response, absl::string_view advice);
  // Ends the call with an error, instead.
  void Refuse(const absl::Status& status);

  void OnDone() final;
  void EndUnread(const absl::Status& status) final;

 private:
  grpc::CallbackServerContext* const context_;  // until OnDone
  UnreadOutput::Share unread_ ABSL_GUARDED_BY(mu_);
  grpc::ByteBuffer* const answer_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_UNARY_CALL_H_
