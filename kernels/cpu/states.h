// The memory of bases and tails on the CPU, all fp32, and their conversion to and from bytes.
#ifndef RETNET_KERNELS_CPU_STATES_H_
#define RETNET_KERNELS_CPU_STATES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cpu/aligned_array.h"
#include "kernels/cpu/strips.h"
#include "kernels/kernels.h"

namespace retnet::cpu {

// Scratch of one thread for one task of Retention. Each number is written before it is read.
struct RetentionScratch {
  float* queries;          // [kChunk, key_dim] q, rotated and scaled
  float* decayed_queries;  // [kChunk, key_dim] queries times γ^(t+1)
  float* weights;          // [kChunk, kChunk] γ^(t−j) (q·k_j)
  float* outputs;          // [kChunk, output_stride]; the columns of the task are used
  int64_t output_stride;   // in elements
  float* keys;             // a copy of TailKeys, for tasks that must not write the tail yet
  float* decayed_keys;     // [key_dim, kChunk] k times γ^(C−1−j)
};

// Value columns are stored in strips, and the last strip is padded. No result depends on the
// padding. Writing a row sets its padding to zero, because arithmetic on subnormal garbage would be
// slow. Thread-compatible. Several threads may use different slots and bases at the same time.
class CpuStates {
 public:
  CpuStates() = default;

  // Allocates shape.slots bases and tails, and scratch for `threads` threads. `decay` is γ of each
  // head, [heads]. RESOURCE_EXHAUSTED if the memory cannot be allocated.
  static absl::StatusOr<CpuStates> Make(const RetentionShape& shape, std::span<const float> decay,
                                        int32_t threads);

  const RetentionShape& shape() const { return shape_; }
  int32_t strips() const { return static_cast<int32_t>(StripsOf(shape_.value_dim)); }
  int64_t padded_value_dim() const { return strips() * kStripColumns; }

  // γ^(kChunk − n) of a head for n = 0 … kChunk, computed in double. This is the weight of each
  // token of a full tail, in the order of tokens.
  const float* Decays(int32_t head) const { return decays_.data() + head * (kChunk + 1); }

  // A base of one head, [key_dim, value_dim].
  Panels<float> Base(int32_t base, int32_t layer, int32_t head) const {
    const int64_t matrix = (int64_t{base} * shape_.layers + layer) * shape_.heads + head;
    return {bases_.data() + matrix * shape_.key_dim * padded_value_dim(), shape_.key_dim, strips()};
  }
  // k transposed, [key_dim, kChunk], with one column per token, so that vectors run over tokens.
  // Strips follow each other in memory, so that a short tail is contiguous.
  Strips<float> TailKeys(int32_t slot, int32_t layer, int32_t kv_head) const {
    return KeysAt(tail_keys_.data() + TailIndex(slot, layer, kv_head) * shape_.key_dim * kChunk);
  }
  Strips<float> KeysAt(float* keys) const {
    return {keys, kStripColumns, shape_.key_dim * kStripColumns};
  }
  // v, [kChunk, value_dim].
  Panels<float> TailValues(int32_t slot, int32_t layer, int32_t kv_head) const {
    return {tail_values_.data() + TailIndex(slot, layer, kv_head) * kChunk * padded_value_dim(),
            kChunk, strips()};
  }
  RetentionScratch Scratch(int32_t thread) const;

  // State bytes in the format of the concept Kernels.
  static int64_t BaseBytes(const RetentionShape& shape);
  static int64_t TailTokenBytes(const RetentionShape& shape);
  void ReadBase(int32_t base, std::span<std::byte> bytes) const;
  void WriteBase(std::span<const std::byte> bytes, int32_t base);
  void ReadTail(int32_t slot, int32_t tokens, std::span<std::byte> bytes) const;
  void WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot);
  void CopyTail(int32_t from, int32_t to, int32_t tokens);
  // Copies the keys of the first `tokens` tokens of a tail.
  void CopyKeys(Strips<const float> keys, int32_t tokens, Strips<float> copy) const;

 private:
  int64_t TailIndex(int32_t slot, int32_t layer, int32_t kv_head) const {
    return (int64_t{slot} * shape_.layers + layer) * shape_.kv_heads + kv_head;
  }
  int64_t ScratchSize() const;  // numbers per thread
  // Not a power of two: that would map the rows of a tile to the same few cache sets.
  int64_t OutputStride() const { return padded_value_dim() + kStripColumns; }

  RetentionShape shape_;
  std::vector<float> decays_;        // [heads, kChunk + 1]
  AlignedArray<float> bases_;        // [slots, layers, heads, panels {key_dim, up to 64}]
  AlignedArray<float> tail_keys_;    // [slots, layers, kv_heads, kChunk / 16, key_dim, 16]
  AlignedArray<float> tail_values_;  // [slots, layers, kv_heads, panels {kChunk, up to 64}]
  AlignedArray<float> scratch_;      // [threads, ScratchSize()]
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_STATES_H_
