#include "kernels/cpu/retention_groups.h"

#include <algorithm>
#include <utility>

namespace retnet::cpu {
namespace {

// The base by which a segment can be grouped with others. kZeroBase if it reads no base, folds, or
// has several pieces.
int32_t SharedBase(RetentionSegment segment) {
  return segment.size() == 1 && !segment.front().folds ? segment.front().base : kZeroBase;
}

// Segments without pieces are padding.
int32_t FirstRow(RetentionSegment segment) {
  return segment.empty() ? 0 : segment.front().first_row;
}

}  // namespace

RetentionGroups::RetentionGroups(int32_t max_segments) {
  segments_.reserve(max_segments);
  ends_.reserve(max_segments);
}

void RetentionGroups::Make(std::span<const RetentionSegment> segments, int64_t max_rows) {
  segments_.assign(segments.begin(), segments.end());
  std::sort(segments_.begin(), segments_.end(), [](RetentionSegment a, RetentionSegment b) {
    return std::pair(SharedBase(a), FirstRow(a)) < std::pair(SharedBase(b), FirstRow(b));
  });
  ends_.clear();
  int32_t base = kZeroBase;  // of the last group
  int64_t rows = 0;
  for (int32_t i = 0; i < static_cast<int32_t>(segments_.size()); ++i) {
    const int32_t next_base = SharedBase(segments_[i]);
    const int32_t next_rows = next_base == kZeroBase ? 0 : segments_[i].front().rows;
    if (next_base != kZeroBase && next_base == base && rows + next_rows <= max_rows) {
      ends_.back() = i + 1;
      rows += next_rows;
    } else {
      ends_.push_back(i + 1);
      base = next_base;
      rows = next_rows;
    }
  }
}

}  // namespace retnet::cpu
