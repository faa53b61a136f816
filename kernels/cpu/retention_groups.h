// Groups the segments of a call of Retention that read the same base.
#ifndef RETNET_KERNELS_CPU_RETENTION_GROUPS_H_
#define RETNET_KERNELS_CPU_RETENTION_GROUPS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"

namespace retnet::cpu {

// A group holds segments that read the same base (forks, samples of one prompt) and have one piece,
// which does not fold. So the base is read from memory once for the whole group. Every other
// segment is a group by itself. Thread-compatible. Make allocates nothing for up to `max_segments`
// segments.
class RetentionGroups {
 public:
  explicit RetentionGroups(int32_t max_segments);

  // Replaces the groups. A group of several segments has at most `max_rows` rows; max_rows <=
  // kChunk.
  void Make(std::span<const RetentionSegment> segments, int64_t max_rows);

  int64_t size() const { return static_cast<int64_t>(ends_.size()); }
  // The segments of a group. Valid until the next call of Make.
  std::span<const RetentionSegment> operator[](int64_t group) const {
    const int32_t first = group == 0 ? 0 : ends_[group - 1];
    return std::span(segments_).subspan(first, ends_[group] - first);
  }

 private:
  std::vector<RetentionSegment> segments_;  // the segments of a group are adjacent
  std::vector<int32_t> ends_;               // index in segments_ where each group ends
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_RETENTION_GROUPS_H_
