// Which segments of a call of Retention go through their base together.
#ifndef RETNET_KERNELS_CPU_RETENTION_GROUPS_H_
#define RETNET_KERNELS_CPU_RETENTION_GROUPS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"

namespace retnet::cpu {

// Segments of one piece that does not fold and that read one base (forks, samples of one prompt)
// form groups, so that the base comes from memory once for all of them; any other segment is a
// group of its own. Thread-compatible; allocates nothing for up to the number of segments that it
// was made for.
class RetentionGroups {
 public:
  explicit RetentionGroups(int32_t max_segments);

  // Forgets the groups before. Groups of several segments have at most `max_rows` rows, up to
  // kChunk.
  void Make(std::span<const RetentionSegment> segments, int64_t max_rows);

  int64_t size() const { return static_cast<int64_t>(ends_.size()); }
  // The segments of a group; valid until Make is called again.
  std::span<const RetentionSegment> operator[](int64_t group) const {
    const int32_t first = group == 0 ? 0 : ends_[group - 1];
    return std::span(segments_).subspan(first, ends_[group] - first);
  }

 private:
  std::vector<RetentionSegment> segments_;  // those of a group lie side by side
  std::vector<int32_t> ends_;               // of each group, in segments_
};

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_RETENTION_GROUPS_H_
