// Queues the samples of one generation for a stream.
#ifndef RETNET_SERVER_CALLS_CHUNK_QUEUE_H_
#define RETNET_SERVER_CALLS_CHUNK_QUEUE_H_

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/tokenizer.h"
#include "server/calls/sample_output.h"

namespace retnet {

// A chunk waits until it is taken. Meanwhile new tokens are appended to it, up to a bound. Memory
// is bounded by max_tokens. Thread-compatible. The tokenizer must outlive the queue; if it is null,
// tokens have no text.
class ChunkQueue {
 public:
  explicit ChunkQueue(const Tokenizer* tokenizer) : tokenizer_(tokenizer) {}

  // Begins a generation. All chunks of the previous one must have been taken.
  void Begin(const GenerationPlan& plan);
  void Accept(int sample, std::span<const SampleResult> answers);
  void End(int sample, const Completion& completion);

  // Takes the next chunk. Returns false if there is none.
  bool Take(v1::TokenChunk* chunk);
  // Call this after the last End.
  v1::GenerateResponse::Final TakeFinal() { return std::move(final_); }

 private:
  struct Sample {
    SampleOutput output;
    v1::TokenChunk* open = nullptr;  // its newest chunk in waiting_, or null
  };
  v1::TokenChunk* OpenChunk(int sample);

  const Tokenizer* tokenizer_;
  int32_t prompt_tokens_ = 0;
  std::string kept_session_;  // empty: no session is kept
  std::vector<Sample> samples_;
  std::deque<v1::TokenChunk> waiting_;
  v1::GenerateResponse::Final final_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_CHUNK_QUEUE_H_
