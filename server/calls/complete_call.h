// Collects the samples of one Complete call.
#ifndef RETNET_SERVER_CALLS_COMPLETE_CALL_H_
#define RETNET_SERVER_CALLS_COMPLETE_CALL_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "server/calls/admission.h"
#include "server/calls/engine_call.h"
#include "server/calls/sample_output.h"
#include "server/wire/request_translation.h"

namespace retnet {

class CompleteCall : public grpc::ServerUnaryReactor, public EngineCall {
 public:
  // gRPC owns `message`, the response. It lives until the call ends.
  CompleteCall(Admission* admission, grpc::CallbackServerContext* context,
               const Tokenizer* tokenizer, grpc::ByteBuffer* message)
      : EngineCall(&admission->in_flight_calls()),
        context_(context),
        tokenizer_(tokenizer),
        message_(message),
        unread_(&admission->unread_output()) {}

  // RESOURCE_EXHAUSTED if a client would not receive the answer even if it is as short as `plan`
  // allows, so that nothing is computed in vain.
  static absl::Status CheckLeastAnswer(const GenerationPlan& plan, int32_t context_length);
  // Prepares for the samples of `plan`. Call this before Submit.
  void Plan(const GenerationPlan& plan);

  void OnCancel() final { Cancel(); }
  void OnDone() final;
  void EndUnread(const absl::Status& status) final;

 protected:
  void Answered(int sample, std::span<const SampleResult> answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  void Ended(int sample, const Completion& completion) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  absl::Status CheckAnswer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  void AllEnded(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;

 private:
  // Counts what has been added to the response. Fails the call if a client would not receive it.
  void Count(size_t wire_bytes, int64_t held_bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  grpc::CallbackServerContext* const context_;  // until OnDone
  const Tokenizer* tokenizer_;
  grpc::ByteBuffer* const message_;
  std::vector<SampleOutput> samples_ ABSL_GUARDED_BY(mu_);
  v1::CompleteResponse response_ ABSL_GUARDED_BY(mu_);
  size_t wire_bytes_ ABSL_GUARDED_BY(mu_) = 0;       // of the tokens and texts in response_
  int64_t held_bytes_ ABSL_GUARDED_BY(mu_) = 0;      // their memory, about
  absl::Status unread_status_ ABSL_GUARDED_BY(mu_);  // why the call was ended; OK: it was not
  UnreadOutput::Share unread_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_COMPLETE_CALL_H_
