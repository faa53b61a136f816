// The operator Retention of the concept Kernels on a GPU.
#ifndef RETNET_KERNELS_CUDA_RETENTION_RETENTION_H_
#define RETNET_KERNELS_CUDA_RETENTION_RETENTION_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernels/cuda/retention/states_view.h"
#include "kernels/cuda/runtime/kernel_queue.h"
#include "kernels/operands.h"
#include "kernels/tensor.h"

namespace retnet::cuda {

// How many segments of a class a launch provides for. All are upper bounds: a segment may have no
// pieces and a piece fewer rows, so that one launch serves every step of a bucket.
struct RetentionExtent {
  int32_t segments = 0;
  int32_t pieces = 0;         // of one segment
  int32_t rows = 0;           // of one piece
  bool shares_bases = false;  // whether some are read together
};

// Segments, forks and samples of one prompt mostly, that a block reads their one base for.
inline constexpr int32_t kMostReaders = 8;

// The segments of a call, those of sampled rows first. Pointers are to device memory.
struct DevicePlan {
  const RetentionPiece* pieces = nullptr;
  const int32_t* starts = nullptr;  // [segments + 1]: where each segment's pieces start and end
  // [segments]: how many, this one and those behind it, are read together; 0 for one that is read
  // together with one before it.
  const int32_t* readers = nullptr;
  RetentionExtent sampled;
  RetentionExtent prompt;
};

// A plan on the host, to be copied to the device.
struct HostPlan {
  std::vector<RetentionPiece> pieces;
  std::vector<int32_t> starts;
  std::vector<int32_t> readers;
  RetentionExtent sampled;
  RetentionExtent prompt;
  std::vector<std::pair<int32_t, int32_t>> order;  // scratch: base and index of sampled segments
};

// Lays out segments of which those of rows [0, sampled_rows) come first; of these, decode rows that
// do not fold are put beside those of the same base and read together. Without pieces one counts as
// of one sampled row, so that decode steps of as many segments have one extent, but for
// shares_bases, and as many pieces, those of no segment at the end. Allocates nothing once `layout`
// has been as large.
void PlanRetention(std::span<const RetentionSegment> segments, int32_t sampled_rows,
                   HostPlan* host_plan);

// Views of device memory.
struct RetentionInputs {
  int32_t layer = 0;
  MatrixView<const float> projections;  // [rows, shape.ProjectionColumns()]
  MatrixView<const float> cosines;      // [rows, key_dim / 2]
  MatrixView<const float> sines;        // [rows, key_dim / 2]
  Norm norm;
};

// Queues the operator; out [rows, shape.OutputColumns()]. k (rotated) and v are rounded to bf16
// before their first use. Sampled and given rows of a position differ within rounding; each depends
// on nothing but its own sequence, and a base is folded by one arithmetic whatever class the rows
// are of. The launches depend on `plan`'s extents alone. Returns the first error of a launch.
cudaError_t Retain(const DevicePlan& plan, const RetentionInputs& inputs, const StatesView& states,
                   MatrixView<float> out, KernelQueue queue);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_RETENTION_H_
