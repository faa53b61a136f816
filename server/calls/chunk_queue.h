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

// A chunk waits until it is taken. Meanwhile new tokens are appended to it, up to a bound. Whoever
// has the queue bounds its memory, with bytes(). Thread-compatible. The tokenizer must outlive the
// queue; if it is null, tokens have no text.
class ChunkQueue {
 public:
  explicit ChunkQueue(const Tokenizer* tokenizer) : tokenizer_(tokenizer) {}

  // Begins a generation. All chunks of the previous one must have been taken.
  void Begin(const GenerationPlan& plan);
  void Accept(int sample, std::span<const SampleResult> answers);
  void End(int sample, const Completion& completion);

  // Takes the next chunk. Returns false if there is none.
  bool Take(v1::TokenChunk* chunk);
  // The memory of the chunks that wait, about.
  int64_t bytes() const { return bytes_; }
  // Call this after the last End.
  v1::GenerateResponse::Final TakeFinal() { return std::move(final_); }

 private:
  struct Chunk {
    v1::TokenChunk wire;
    int64_t bytes = 0;
  };
  struct Sample {
    SampleOutput output;
    Chunk* open = nullptr;  // its newest chunk in waiting_, or null
  };
  // The chunk that the sample's next text or token goes to, which adds so many bytes to it.
  v1::TokenChunk* OpenChunk(int sample, int64_t bytes);

  const Tokenizer* tokenizer_;
  int32_t prompt_tokens_ = 0;
  std::string kept_session_;  // empty: no session is kept
  std::vector<Sample> samples_;
  std::deque<Chunk> waiting_;
  int64_t bytes_ = 0;  // of waiting_
  v1::GenerateResponse::Final final_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_CHUNK_QUEUE_H_
