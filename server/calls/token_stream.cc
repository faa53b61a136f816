#include "server/calls/token_stream.h"

#include "server/wire/messages.h"

namespace retnet {

void TokenStream::Plan(const GenerationPlan& plan) {
  const MutexLock lock(&mu_);
  chunks_.Begin(plan);
}

void TokenStream::Answered(int sample, std::span<const SampleResult> answers) {
  if (broken()) return;
  chunks_.Accept(sample, answers);
  Pump();
}

void TokenStream::Ended(int sample, const Completion& completion) {
  chunks_.End(sample, completion);
  Pump();
}

bool TokenStream::TakeChunk(grpc::ByteBuffer* message) {
  v1::GenerateResponse response;
  if (!chunks_.Take(response.mutable_chunk())) return false;
  *message = SerializeMessage(response);
  return true;
}

grpc::ByteBuffer TokenStream::Final() {
  v1::GenerateResponse response;
  *response.mutable_final() = chunks_.TakeFinal();
  return SerializeMessage(response);
}

}  // namespace retnet
