// The memory of bases and tails on the CPU, all fp32, and the bytes that they are read and written
// as.
#ifndef RETNET_KERNELS_CPU_STATES_H_
#define RETNET_KERNELS_CPU_STATES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cpu/aligned_array.h"
#include "kernels/kernels.h"

namespace retnet {

// Value columns are padded to whole cache lines and stored in panels of up to kPanelColumns: a
// matrix [rows, value_dim] is panels [rows, panel columns] one behind the other, so that one pass
// over a panel reads memory in its order. Padding is zero wherever a row has been written.
inline constexpr int32_t kPanelColumns = 64;

// Numbers of one thread that last for one task of Retention; each is written before it is read.
struct RetentionScratch {
  float* queries;          // [kChunk, key_dim] rotated and scaled
  float* decayed_queries;  // [kChunk, key_dim] times γ^(t+1)
  float* weights;          // [kChunk, kChunk]  γ^(t−j) (q·k_j)
  float* outputs;          // [kChunk, kPanelColumns]
  float* keys;          // [key_dim, kChunk] the tail's, where the tail itself cannot be written yet
  float* decayed_keys;  // [key_dim, kChunk] times γ^(C−1−j)
};

// Thread-compatible. Distinct slots and bases may be used by several threads at once.
class CpuStates {
 public:
  CpuStates() = default;

  // Memory of shape.slots bases and tails, and scratch for `threads`. decay: γ of each head,
  // [heads]. RESOURCE_EXHAUSTED when it does not fit.
  static absl::StatusOr<CpuStates> Make(const RetentionShape& shape, std::span<const float> decay,
                                        int32_t threads);

  const RetentionShape& shape() const { return shape_; }
  int32_t padded_value_dim() const { return padded_value_dim_; }
  int32_t panels() const { return (padded_value_dim_ + kPanelColumns - 1) / kPanelColumns; }
  // A multiple of 16.
  int32_t PanelColumns(int32_t panel) const {
    return std::min(kPanelColumns, padded_value_dim_ - panel * kPanelColumns);
  }

  // γ^n of a head for n = 0 … kChunk, rounded to fp32 once.
  const float* DecayPowers(int32_t head) const {
    return decay_powers_.data() + head * (kChunk + 1);
  }

  // [key_dim, panel columns].
  float* Base(int32_t base, int32_t layer, int32_t head, int32_t panel) const {
    const int64_t matrix = (int64_t{base} * shape_.layers + layer) * shape_.heads + head;
    return bases_.data() + shape_.key_dim * (matrix * padded_value_dim_ + panel * kPanelColumns);
  }
  // k transposed, [key_dim, kChunk]: a column per token, so that vectors run over tokens.
  float* TailKeys(int32_t slot, int32_t layer, int32_t kv_head) const {
    return tail_keys_.data() + TailIndex(slot, layer, kv_head) * shape_.key_dim * kChunk;
  }
  // [kChunk, panel columns].
  float* TailValues(int32_t slot, int32_t layer, int32_t kv_head, int32_t panel) const {
    return tail_values_.data() +
           kChunk * (TailIndex(slot, layer, kv_head) * padded_value_dim_ + panel * kPanelColumns);
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

 private:
  int64_t TailIndex(int32_t slot, int32_t layer, int32_t kv_head) const {
    return (int64_t{slot} * shape_.layers + layer) * shape_.kv_heads + kv_head;
  }
  int64_t ScratchSize() const;  // numbers of one thread
  // Row `row` of a matrix [rows, value_dim] in panels, as bytes [value_dim].
  void ReadRow(const float* matrix, int64_t rows, int64_t row, std::byte* bytes) const;
  void WriteRow(const std::byte* bytes, int64_t rows, int64_t row, float* matrix) const;

  RetentionShape shape_;
  int32_t padded_value_dim_ = 0;
  std::vector<float> decay_powers_;  // [heads, kChunk + 1]
  AlignedArray<float> bases_;        // [slots, layers, heads, panels {key_dim, panel columns}]
  AlignedArray<float> tail_keys_;    // [slots, layers, kv_heads, key_dim, kChunk]
  AlignedArray<float> tail_values_;  // [slots, layers, kv_heads, panels {kChunk, panel columns}]
  AlignedArray<float> scratch_;      // [threads, ScratchSize()]
};

}  // namespace retnet

#endif  // RETNET_KERNELS_CPU_STATES_H_
