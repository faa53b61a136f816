#include "client/bench/run.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace retnet {

std::vector<NamedSamples> ReportedLatencies(const BenchOptions& options,
                                            const Latencies& latencies) {
  std::vector<NamedSamples> reported;
  for (const NamedSamples& named :
       {NamedSamples{"ttft", "TTFT", &latencies.ttft},
        NamedSamples{"tpot", "TPOT", &latencies.tpot}, NamedSamples{"itl", "ITL", &latencies.itl},
        NamedSamples{"e2el", "E2EL", &latencies.e2el}}) {
    const auto& wanted = options.percentile_metrics;
    if (std::find(wanted.begin(), wanted.end(), named.key) != wanted.end()) {
      reported.push_back(named);
    }
  }
  return reported;
}

std::vector<NamedSamples> ServerLatencies(const Latencies& latencies) {
  return {{"server_queued", "queued", &latencies.queued},
          {"server_prefill", "prefill", &latencies.prefill},
          {"server_tpot", "decode, a token", &latencies.decode},
          {"ttft_beyond_server", "TTFT beyond queued and prefill", &latencies.ttft_beyond_server}};
}

std::string PointTitle(const BenchPoint& point) {
  std::string title;
  if (!std::isinf(point.request_rate)) title = absl::StrCat(point.request_rate, " req/s");
  if (point.max_concurrency > 0) {
    absl::StrAppend(&title, title.empty() ? "" : ", at most ", point.max_concurrency, " at once");
  }
  return title.empty() ? "all at once" : title;
}

std::string SweptTitle(const BenchOptions& options) {
  return options.request_rates.size() > 1 ? "req/s asked" : "at once";
}

std::string SweptValue(const BenchOptions& options, const BenchPoint& point) {
  return options.request_rates.size() > 1 ? absl::StrCat(point.request_rate)
                                          : absl::StrCat(point.max_concurrency);
}

}  // namespace retnet
