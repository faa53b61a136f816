// Converts one sample for the wire: tokens with their text, and how the sample ended.
#ifndef RETNET_SERVER_CALLS_SAMPLE_OUTPUT_H_
#define RETNET_SERVER_CALLS_SAMPLE_OUTPUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/request.h"
#include "models/tokenizer.h"
#include "retnet/v1/generation.pb.h"
#include "server/text/detokenizer.h"
#include "server/wire/request_translation.h"

namespace retnet {

// Thread-compatible. The tokenizer must outlive it. If it is null, tokens have no text.
class SampleOutput {
 public:
  SampleOutput(const GenerationPlan& plan, const Tokenizer* tokenizer);

  v1::Token Accept(const SampleResult& answer);
  // Returns the text that was held back. Call this after the last token. If a session goes on, it
  // keeps the beginning of a character for its next text.
  std::string Flush(const Completion& completion);
  v1::Finish Finish(int32_t index, const Completion& completion) const;

 private:
  const Tokenizer* tokenizer_;
  Detokenizer text_;
  std::vector<TokenId> silent_tokens_;  // sorted: stop tokens, unless the text keeps them
  bool logprobs_;
  bool keeps_session_;
};

// The memory that a token takes until it is written, about: the message's objects take several
// times its bytes.
int64_t HeldBytes(const v1::Token& token);

// The id of the session that remains after the request. Empty if none does.
std::string KeptSession(const Request& request);
v1::Timings ToWire(const Timings& timings);
// Adds a sample's usage to that of its call.
void AddUsage(const Usage& usage, v1::Usage* total);

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_SAMPLE_OUTPUT_H_
