#include "kernels/cuda/retention/retention.h"

#include <algorithm>
#include <cstddef>

#include "kernels/cuda/retention/decode.h"
#include "kernels/cuda/retention/prefill.h"

namespace retnet::cuda {

namespace {

// The base by which a sampled segment can be computed together with others; kZeroBase if it cannot.
int32_t SharedBase(RetentionSegment segment) {
  const bool decodes = segment.size() == 1 && segment[0].rows == 1 && !segment[0].folds;
  return decodes ? segment[0].base : kZeroBase;
}

// Appends a segment to the plan and enlarges `extent` for it.
void Append(RetentionSegment segment, int32_t readers, RetentionExtent* extent,
            HostPlan* host_plan) {
  const int32_t pieces = std::max(static_cast<int32_t>(segment.size()), 1);
  extent->rows = std::max(extent->rows, 1);
  ++extent->segments;
  extent->pieces = std::max(extent->pieces, pieces);
  for (const RetentionPiece& piece : segment) extent->rows = std::max(extent->rows, piece.rows);
  host_plan->pieces.insert(host_plan->pieces.end(), segment.begin(), segment.end());
  host_plan->starts.push_back(static_cast<int32_t>(host_plan->pieces.size()));
  host_plan->readers.push_back(readers);
}

// Appends the segments in the order of their bases, so that those computed together are adjacent.
void AppendSampled(std::span<const RetentionSegment> segments, HostPlan* host_plan) {
  auto& order = host_plan->order;
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
    host_plan->sampled.shares_bases |= readers > 1;
    for (; first < end; ++first, readers = 0) {
      Append(segments[order[first].second], readers, &host_plan->sampled, host_plan);
    }
  }
}

}  // namespace

void PlanRetention(std::span<const RetentionSegment> segments, int32_t sampled_rows,
                   HostPlan* host_plan) {
  host_plan->pieces.clear();
  host_plan->starts.assign(1, 0);
  host_plan->readers.clear();
  host_plan->sampled = host_plan->prompt = {};
  const auto prompt = std::find_if(segments.begin(), segments.end(), [=](RetentionSegment segment) {
    return !segment.empty() && segment.front().first_row >= sampled_rows;
  });
  AppendSampled({segments.begin(), prompt}, host_plan);
  for (auto segment = prompt; segment != segments.end(); ++segment) {
    Append(*segment, /*readers=*/1, &host_plan->prompt, host_plan);
  }
  host_plan->pieces.resize(std::max(host_plan->pieces.size(), segments.size()));
}

namespace {

// Queues one launch for the first pieces of all segments, one for the second pieces, and so on.
// Decode rows and drafts have one piece.
cudaError_t RetainPieceByPiece(const DevicePlan& plan, int32_t first_segment,
                               const RetentionExtent& extent, const RetentionInputs& inputs,
                               const StatesView& states, MatrixView<float> out, KernelQueue queue) {
  for (int32_t piece = 0; extent.segments > 0 && piece < extent.pieces; ++piece) {
    const DecodeSegments segments{plan.pieces, plan.starts + first_segment,
                                  plan.readers + first_segment};
    const cudaError_t error = RetentionDecode(segments, extent, piece, inputs, states, out, queue);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t Retain(const DevicePlan& plan, const RetentionInputs& inputs, const StatesView& states,
                   MatrixView<float> out, KernelQueue queue) {
  const cudaError_t error =
      RetainPieceByPiece(plan, /*first_segment=*/0, plan.sampled, inputs, states, out, queue);
  if (error != cudaSuccess || plan.prompt.segments == 0) return error;
  if (states.shape.key_dim <= kMaxPrefillKeyDim) {
    return RetentionPrefill({plan.pieces, plan.starts + plan.sampled.segments, inputs, states, out},
                            plan.prompt, queue.stream);
  }
  return RetainPieceByPiece(plan, plan.sampled.segments, plan.prompt, inputs, states, out, queue);
}

}  // namespace retnet::cuda
