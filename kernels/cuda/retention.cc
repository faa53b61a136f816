#include "kernels/cuda/retention.h"

#include <algorithm>

#include "kernels/cuda/retention_few.h"
#include "kernels/cuda/retention_many.h"

namespace retnet {

void LayOut(std::span<const RetentionSegment> segments, int32_t sampled_rows,
            RetentionLayout* layout) {
  layout->pieces.clear();
  layout->starts.assign(1, 0);
  layout->sampled = layout->given = {};
  for (RetentionSegment segment : segments) {
    const bool is_sampled = segment.empty() || segment.front().first_row < sampled_rows;
    RetentionExtent& extent = is_sampled ? layout->sampled : layout->given;
    const int32_t pieces = std::max(static_cast<int32_t>(segment.size()), 1);
    extent.rows = std::max(extent.rows, 1);
    ++extent.segments;
    extent.pieces = std::max(extent.pieces, pieces);
    for (const RetentionPiece& piece : segment) extent.rows = std::max(extent.rows, piece.rows);
    layout->pieces.insert(layout->pieces.end(), segment.begin(), segment.end());
    layout->starts.push_back(static_cast<int32_t>(layout->pieces.size()));
  }
  layout->pieces.resize(std::max(layout->pieces.size(), segments.size()));
}

namespace {

// One launch for the first pieces of all segments, one for the second, and so on. Decode rows and
// drafts have one piece.
cudaError_t RetainPieceByPiece(const RetentionPlan& plan, int32_t first_segment,
                               const RetentionExtent& extent, const RetentionInputs& inputs,
                               const StatesView& states, MatrixView<float> out, KernelQueue queue) {
  for (int32_t piece = 0; extent.segments > 0 && piece < extent.pieces; ++piece) {
    const cudaError_t error = RetainFew(plan.pieces, plan.starts + first_segment, extent, piece,
                                        inputs, states, out, queue);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t Retain(const RetentionPlan& plan, const RetentionInputs& inputs,
                   const StatesView& states, MatrixView<float> out, KernelQueue queue) {
  const cudaError_t error =
      RetainPieceByPiece(plan, /*first_segment=*/0, plan.sampled, inputs, states, out, queue);
  if (error != cudaSuccess || plan.given.segments == 0) return error;
  if (states.shape.key_dim <= kMaxManyKeyDim) {
    return RetainMany({plan.pieces, plan.starts + plan.sampled.segments, inputs, states, out},
                      plan.given, queue.stream);
  }
  return RetainPieceByPiece(plan, plan.sampled.segments, plan.given, inputs, states, out, queue);
}

}  // namespace retnet
