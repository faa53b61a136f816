#include "server/calls/chunk_queue.h"

#include <string>
#include <utility>

namespace retnet {
namespace {

// Both keep a chunk far below the 4 MiB that clients receive by default. Its memory is more than it
// has bytes as a message.
constexpr int kMaxChunkTokens = 256;
constexpr int64_t kMaxChunkBytes = 1 << 20;

}  // namespace

void ChunkQueue::Begin(const GenerationPlan& plan) {
  prompt_tokens_ = static_cast<int32_t>(plan.request.prompt.size());
  kept_session_ = KeptSession(plan.request);
  samples_.clear();
  final_.Clear();
  final_.set_seed(plan.request.sampling.seed);
  for (int32_t i = 0; i < plan.samples; ++i) {
    samples_.push_back({SampleOutput(plan, tokenizer_)});
    final_.add_finishes();
  }
}

v1::TokenChunk* ChunkQueue::OpenChunk(int sample, int64_t bytes) {
  Chunk*& open = samples_[sample].open;
  if (open == nullptr || open->wire.tokens_size() >= kMaxChunkTokens ||
      open->bytes >= kMaxChunkBytes) {
    open = &waiting_.emplace_back();
    open->wire.set_index(sample);
    open->wire.set_prompt_tokens(prompt_tokens_);
  }
  open->bytes += bytes;
  bytes_ += bytes;
  return &open->wire;
}

void ChunkQueue::Accept(int sample, std::span<const SampleResult> answers) {
  for (const SampleResult& answer : answers) {
    v1::Token token = samples_[sample].output.Accept(answer);
    v1::TokenChunk* chunk = OpenChunk(sample, HeldBytes(token));
    chunk->mutable_text()->append(token.text());
    chunk->set_completion_tokens(token.completion_tokens());
    *chunk->add_tokens() = std::move(token);
  }
}

void ChunkQueue::End(int sample, const Completion& completion) {
  if (std::string rest = samples_[sample].output.Flush(completion); !rest.empty()) {
    v1::TokenChunk* chunk = OpenChunk(sample, static_cast<int64_t>(rest.size()));
    chunk->mutable_text()->append(rest);
    chunk->set_completion_tokens(completion.usage.completion_tokens);
  }
  *final_.mutable_finishes(sample) = samples_[sample].output.Finish(sample, completion);
  AddUsage(completion.usage, final_.mutable_usage());
  if (kept_session_.empty()) return;
  final_.set_session_id(kept_session_);
  final_.set_session_tokens(completion.session_tokens);
}

bool ChunkQueue::Take(v1::TokenChunk* chunk) {
  if (waiting_.empty()) return false;
  Chunk& first = waiting_.front();
  Sample& sample = samples_[first.wire.index()];
  if (sample.open == &first) sample.open = nullptr;
  *chunk = std::move(first.wire);
  bytes_ -= first.bytes;
  waiting_.pop_front();
  return true;
}

}  // namespace retnet
