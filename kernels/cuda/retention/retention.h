// The operator Retention of the concept Kernels on a GPU: planning on the host, and the launches.
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

// The size of the launches for the segments of one class. All numbers are upper bounds: a segment
// may have no pieces, and a piece may have fewer rows. So one recorded launch serves all decode
// steps that are padded to the same number of rows.
struct RetentionExtent {
  int32_t segments = 0;
  int32_t pieces = 0;         // of a segment
  int32_t rows = 0;           // of a piece
  bool shares_bases = false;  // some segments read the same base and are computed together
};

// The most segments with the same base (forks, samples of one prompt) that one block computes
// together, reading the base once.
inline constexpr int32_t kMostReaders = 8;

// The segments of a call. Segments of sampled rows come first. Pointers are to device memory.
struct DevicePlan {
  const RetentionPiece* pieces = nullptr;
  const int32_t* starts = nullptr;  // [segments + 1]: where each segment's pieces start and end
  // [segments]: the number of segments, from this one on, that are computed together. 0 if an
  // earlier segment includes this one.
  const int32_t* readers = nullptr;
  RetentionExtent sampled;
  RetentionExtent prompt;
};

// The same plan on the host, before it is copied to the device.
struct HostPlan {
  std::vector<RetentionPiece> pieces;
  std::vector<int32_t> starts;
  std::vector<int32_t> readers;
  RetentionExtent sampled;
  RetentionExtent prompt;
  // Scratch: base and index of each sampled segment.
  std::vector<std::pair<int32_t, int32_t>> order;
};

// Writes the plan of `segments` to `host_plan`. Segments of rows [0, sampled_rows) must come first.
// Of these, decode rows that do not fold are sorted by base, so that rows of the same base are
// adjacent and computed together. A segment without pieces counts as one sampled row. `pieces` is
// filled up to one per segment; the additional ones belong to no segment. So decode steps with
// equal numbers of segments have the same extent, except for shares_bases, and equal numbers of
// pieces. Allocates nothing if `host_plan` has held a plan of this size before.
void PlanRetention(std::span<const RetentionSegment> segments, int32_t sampled_rows,
                   HostPlan* host_plan);

// The inputs of one call, in device memory.
struct RetentionInputs {
  int32_t layer = 0;
  MatrixView<const float> projections;  // [rows, shape.ProjectionColumns()]
  MatrixView<const float> cosines;      // [rows, key_dim / 2]
  MatrixView<const float> sines;        // [rows, key_dim / 2]
  MatrixView<const float> decay_sums;   // [rows, heads]; no columns: not normalized
  Norm norm;
};

// Queues the operator; out is [rows, shape.OutputColumns()]. Rotated k and v are rounded to bf16
// before their first use. At the same position, the results of a sampled row and a prompt row may
// differ by rounding. Within a class, the result depends only on the row's own sequence. Both
// classes fold with the same arithmetic. The launches depend only on the extents in `plan`. Returns
// the first error of a launch.
cudaError_t Retain(const DevicePlan& plan, const RetentionInputs& inputs, const StatesView& states,
                   MatrixView<float> out, KernelQueue queue);

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RETENTION_RETENTION_H_
