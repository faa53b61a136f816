#include "client/bench/timeline.h"

#include <algorithm>

#include "client/bench/load_summary.h"

namespace retnet {
namespace {

constexpr double kLeastInterval = 0.05;  // seconds

// Adds to every interval the share of it that lies between begin and end.
void AddPresence(double begin, double end, double interval, std::vector<double>* series) {
  const auto count = static_cast<int>(series->size());
  const int first = std::clamp(static_cast<int>(begin / interval), 0, count - 1);
  const int last = std::clamp(static_cast<int>(end / interval), 0, count - 1);
  for (int i = first; i <= last; ++i) {
    const double from = std::max(begin, i * interval);
    const double to = std::min(end, (i + 1) * interval);
    (*series)[i] += std::max(0.0, to - from) / interval;
  }
}

}  // namespace

Timeline MakeTimeline(const LoadResult& result, int intervals) {
  Timeline timeline;
  if (result.seconds <= 0) return timeline;
  const int count =
      std::clamp(static_cast<int>(result.seconds / kLeastInterval), 1, std::max(1, intervals));
  timeline.interval = result.seconds / count;
  timeline.tokens_per_second.resize(count);
  timeline.waiting.resize(count);
  timeline.streaming.resize(count);
  for (const RequestRecord& record : result.records) {
    const double first = record.first_token.value_or(record.ended);
    AddPresence(record.sent, first, timeline.interval, &timeline.waiting);
    AddPresence(first, record.ended, timeline.interval, &timeline.streaming);
    VisitTokens(record, [&](double seconds, int32_t tokens) {
      const int i = std::clamp(static_cast<int>(seconds / timeline.interval), 0, count - 1);
      timeline.tokens_per_second[i] += tokens / timeline.interval;
    });
  }
  return timeline;
}

}  // namespace retnet
