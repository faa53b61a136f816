// The memory of bases and tails on the CPU, all fp32, and the bytes that they are read and written
// as.
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

// Numbers of one thread that last for one task of Retention; each is written before it is read.
struct RetentionScratch {
  float* queries;          // [kChunk, key_dim] rotated and scaled
  float* decayed_queries;  // [kChunk, key_dim] times γ^(t+1)
  float* weights;          // [kChunk, kChunk]  γ^(t−j) (q·k_j)
  float* outputs;          // [kChunk, output_stride] of them the task's columns
  int64_t output_stride;   // elements
  float* keys;             // as TailKeys, where the tail itself cannot be written yet
  float* decayed_keys;     // [key_dim, kChunk] times γ^(C−1−j)
};

// Value columns lie in strips and are padded to whole ones. Nothing depends on the padding; it is
// zero wherever a row has been written, since subnormal garbage would be slow to compute with.
// Thread-compatible. Distinct slots and bases may be used by several threads at once.
class CpuStates {
 public:
  CpuStates() = default;

  // Memory of shape.slots bases and tails, and scratch for `threads`. decay: γ of each head,
  // [heads]. RESOURCE_EXHAUSTED when it does not fit.
  static absl::StatusOr<CpuStates> Make(const RetentionShape& shape, std::span<const float> decay,
                                        int32_t threads);

  const RetentionShape& shape() const { return shape_; }
  int32_t strips() const { return static_cast<int32_t>(StripsOf(shape_.value_dim)); }
  int64_t padded_value_dim() const { return strips() * kStripColumns; }

  // γ^(kChunk − n) of a head for n = 0 … kChunk, made in double: the weights of tokens by age, in
  // the order of tokens.
  const float* Decays(int32_t head) const { return decays_.data() + head * (kChunk + 1); }

  // A base of one head, [key_dim, value_dim].
  Panels<float> Base(int32_t base, int32_t layer, int32_t head) const {
    const int64_t matrix = (int64_t{base} * shape_.layers + layer) * shape_.heads + head;
    return {bases_.data() + matrix * shape_.key_dim * padded_value_dim(), shape_.key_dim, strips()};
  }
  // k transposed, [key_dim, kChunk]: a column per token, so that vectors run over tokens, and a
  // strip behind another, so that a short tail is one run.
  Strips<float> TailKeys(int32_t slot, int32_t layer, int32_t kv_head) const {
    return KeysAt(tail_keys_.data() + TailIndex(slot, layer, kv_head) * shape_.key_dim * kChunk);
  }
  Strips<float> KeysAt(float* keys) const {
    return {keys, kStripColumns, shape_.key_dim * kStripColumns};
  }
  // [kChunk, value_dim].
  Panels<float> TailValues(int32_t slot, int32_t layer, int32_t kv_head) const {
    return {tail_values_.data() + TailIndex(slot, layer, kv_head) * kChunk * padded_value_dim(),
            kChunk, strips()};
  }
  RetentionScratch Scratch(int32_t thread) const;

  // Bytes as the concept Kernels lays them out.
  static int64_t BaseBytes(const RetentionShape& shape);
  static int64_t TailTokenBytes(const RetentionShape& shape);
  void ReadBase(int32_t base, std::span<std::byte> bytes) const;
  void WriteBase(std::span<const std::byte> bytes, int32_t base);
  void ReadTail(int32_t slot, int32_t tokens, std::span<std::byte> bytes) const;
  void WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot);
  void CopyTail(int32_t from, int32_t to, int32_t tokens);
  // Of a tail's keys, those of its first `tokens`.
  void CopyKeys(Strips<const float> keys, int32_t tokens, Strips<float> copy) const;

 private:
  int64_t TailIndex(int32_t slot, int32_t layer, int32_t kv_head) const {
    return (int64_t{slot} * shape_.layers + layer) * shape_.kv_heads + kv_head;
  }
  int64_t ScratchSize() const;  // numbers of one thread
  // Not a power of two, which would send the rows of a tile to the same few sets of a cache.
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
