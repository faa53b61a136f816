// The samples of one generation on their way to a stream.
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

// A chunk waits until it is taken, and meanwhile grows by the tokens that follow, up to a bound; so
// memory is bounded by max_tokens. Thread-compatible; the tokenizer (nullptr: tokens have no text)
// must outlive it.
class ChunkQueue {
 public:
  explicit ChunkQueue(const Tokenizer* tokenizer) : tokenizer_(tokenizer) {}

  // Begins a generation; the one before must have been taken to its end.
  void Begin(const GenerationPlan& plan);
  void Accept(int sample, std::span<const SampleResult> answers);
  void End(int sample, const Completion& completion);

  // The next chunk; false when there is none.
  bool Take(v1::TokenChunk* chunk);
  // After the last End.
  v1::GenerateResponse::Final TakeFinal() { return std::move(final_); }

 private:
  struct Sample {
    SampleOutput output;
    v1::TokenChunk* open = nullptr;  // its newest chunk in waiting_, if there is one
  };
  v1::TokenChunk* OpenChunk(int sample);

  const Tokenizer* tokenizer_;
  int32_t prompt_tokens_ = 0;
  std::string kept_session_;  // empty: none
  std::vector<Sample> samples_;
  std::deque<v1::TokenChunk> waiting_;
  v1::GenerateResponse::Final final_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_CHUNK_QUEUE_H_
