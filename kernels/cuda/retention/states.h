// The memory of bases (of any type) and tails (bf16) on a GPU, and their conversion to and from
// bytes.
#ifndef RETNET_KERNELS_CUDA_RETENTION_STATES_H_
#define RETNET_KERNELS_CUDA_RETENTION_STATES_H_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/retention/states_view.h"
#include "kernels/cuda/runtime/device_array.h"
#include "kernels/kernels.h"

namespace retnet::cuda {

// The stream and the pinned memory that copies between host and device use. Not owned.
struct CopyLane {
  cudaStream_t stream = nullptr;
  std::byte* pinned = nullptr;
  int64_t size = 0;  // bytes of `pinned`
};

// Owns the memory. Movable, not copyable.
class CudaStates {
 public:
  CudaStates() = default;

  // Allocates shape.slots bases and tails, and scratch for calls of Retention with up to max_rows
  // rows. `decay` is γ of each head, [heads]. Synchronises with the device. RESOURCE_EXHAUSTED if
  // the device memory does not suffice.
  static absl::StatusOr<CudaStates> Make(const RetentionShape& shape, std::span<const float> decay,
                                         int64_t max_rows);

  // Bytes of device memory that Make allocates per slot: one base and one tail.
  static int64_t SlotBytes(const RetentionShape& shape);
  // Bytes of scratch that Make allocates per row.
  static int64_t RowBytes(const RetentionShape& shape);

  const RetentionShape& shape() const { return view_.shape; }
  const StatesView& view() const { return view_; }

  static int64_t BaseBytes(const RetentionShape& shape);
  static int64_t TailTokenBytes(const RetentionShape& shape);
  // State bytes in the format of the concept Kernels. These functions return when the copy is done.
  // They may run on another thread than the one that queues work, if that work uses other slots and
  // bases.
  absl::Status ReadBase(int32_t base, std::span<std::byte> bytes, const CopyLane& lane) const;
  absl::Status WriteBase(std::span<const std::byte> bytes, int32_t base, const CopyLane& lane);
  absl::Status ReadTail(int32_t slot, int32_t tokens, std::span<std::byte> bytes,
                        const CopyLane& lane) const;
  absl::Status WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot,
                         const CopyLane& lane);
  // The least size of the pinned memory of a lane.
  static int64_t CopyBytesAtLeast(const RetentionShape& shape);
  // Queues the copy of a tail's first `tokens` tokens to another slot.
  absl::Status CopyTail(int32_t from, int32_t to, int32_t tokens, cudaStream_t stream);

  enum class Direction { kRead, kWrite };

 private:
  absl::Status CopyBase(Direction direction, int32_t base, std::byte* bytes,
                        const CopyLane& lane) const;
  absl::Status CopyTailBytes(Direction direction, int32_t slot, int32_t tokens, std::byte* bytes,
                             const CopyLane& lane) const;

  StatesView view_;
  DeviceArray<float> decays_;
  DeviceArray<std::byte> bases_;
  DeviceArray<__nv_bfloat16> tail_keys_;
  DeviceArray<__nv_bfloat16> tail_values_;
  DeviceArray<int32_t> arrivals_;
  DeviceArray<float> exchanged_weights_;
  DeviceArray<__nv_bfloat16> prepared_;
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_STATES_H_
