#include "kernels/cuda/retention/retention.h"

#include <algorithm>
#include <cstddef>

#include "kernels/cuda/retention/decode.h"
#include "kernels/cuda/retention/prefill.h"

namespace retnet {

namespace {

// The base that a sampled segment may be read together with others of, or kZeroBase.
int32_t SharedBase(RetentionSegment segment) {
  const bool decodes = segment.size() == 1 && segment[0].rows == 1 && !segment[0].folds;
  return decodes ? segment[0].base : kZeroBase;
}

// Appends a segment to those that `extent` is of.
void Append(RetentionSegment segment, int32_t readers, RetentionExtent* extent,
            RetentionLayout* layout) {
  const int32_t pieces = std::max(static_cast<int32_t>(segment.size()), 1);
  extent->rows = std::max(extent->rows, 1);
  ++extent->segments;
  extent->pieces = std::max(extent->pieces, pieces);
  for (const RetentionPiece& piece : segment) extent->rows = std::max(extent->rows, piece.rows);
  layout->pieces.insert(layout->pieces.end(), segment.begin(), segment.end());
  layout->starts.push_back(static_cast<int32_t>(layout->pieces.size()));
  layout->readers.push_back(readers);
}

// In the order of their bases, so that those to be read together lie side by side.
void AppendSampled(std::span<const RetentionSegment> segments, RetentionLayout* layout) {
  auto& order = layout->order;
  order.clear();
  for (const RetentionSegment& segment : segments) {
    order.emplace_back(SharedBase(segment), static_cast<int32_t>(order.size()));
  }
  std::sort(order.begin(), order.end());
  for (size_t first = 0; first < order.size();) {
    const int32_t base = order[first].first;
    size_t end = first + 1;
    while (base != kZeroBase && end < order.size() && end < first + kMostReaders &&
           order[end].first == base) {
      ++end;
    }
    auto readers = static_cast<int32_t>(end - first);
    layout->sampled.shares_bases |= readers > 1;
    for (; first < end; ++first, readers = 0) {
      Append(segments[order[first].second], readers, &layout->sampled, layout);
    }
  }
}

}  // namespace

void LayOut(std::span<const RetentionSegment> segments, int32_t sampled_rows,
            RetentionLayout* layout) {
  layout->pieces.clear();
  layout->starts.assign(1, 0);
  layout->readers.clear();
  layout->sampled = layout->given = {};
  const auto given = std::find_if(segments.begin(), segments.end(), [=](RetentionSegment segment) {
    return !segment.empty() && segment.front().first_row >= sampled_rows;
  });
  AppendSampled({segments.begin(), given}, layout);
  for (auto segment = given; segment != segments.end(); ++segment) {
    Append(*segment, /*readers=*/1, &layout->given, layout);
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
    const FewSegments segments{plan.pieces, plan.starts + first_segment,
                               plan.readers + first_segment};
    const cudaError_t error = RetainFew(segments, extent, piece, inputs, states, out, queue);
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
