// Collects the samples of one Complete call.
#ifndef RETNET_SERVER_CALLS_COMPLETE_CALL_H_
#define RETNET_SERVER_CALLS_COMPLETE_CALL_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <vector>

#include "server/calls/engine_call.h"
#include "server/calls/sample_output.h"

namespace retnet {

class CompleteCall : public grpc::ServerUnaryReactor, public EngineCall {
 public:
  // gRPC owns `message`, the response. It lives until Finish.
  CompleteCall(InFlightCalls* in_flight_calls, const Tokenizer* tokenizer,
               grpc::ByteBuffer* message)
      : EngineCall(in_flight_calls), tokenizer_(tokenizer), message_(message) {}

  // Prepares for the samples of `plan`. Call this before Submit.
  void Plan(const GenerationPlan& plan);

  void OnCancel() final { Cancel(); }
  void OnDone() final { Close(); }

 protected:
  void Answered(int sample, std::span<const SampleResult> answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  void Ended(int sample, const Completion& completion) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;
  void AllEnded(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) final;

 private:
  const Tokenizer* tokenizer_;
  grpc::ByteBuffer* const message_;
  std::vector<SampleOutput> samples_ ABSL_GUARDED_BY(mu_);
  v1::CompleteResponse response_ ABSL_GUARDED_BY(mu_);
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_COMPLETE_CALL_H_
