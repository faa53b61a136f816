#include "client/bench/load_summary.h"

#include <algorithm>
#include <utility>

namespace retnet {
namespace {

constexpr double kMilli = 1e3;  // milliseconds in a second

double LastToken(const RequestRecord& record) {
  double last = 0;
  VisitTokens(record, [&](double seconds, int32_t) { last = seconds; });
  return last;
}

double LargestGap(const RequestRecord& record) {
  float largest = 0;
  for (const TokenArrival& arrival : record.later) largest = std::max(largest, arrival.gap);
  return static_cast<double>(largest) * kMilli;
}

// The unsorted samples while they are collected.
struct Collected {
  std::vector<double> ttft, tpot, itl, e2el, queued, prefill, decode, beyond;

  Latencies Sort() && {
    return {.ttft = Samples(std::move(ttft)),
            .tpot = Samples(std::move(tpot)),
            .itl = Samples(std::move(itl)),
            .e2el = Samples(std::move(e2el)),
            .queued = Samples(std::move(queued)),
            .prefill = Samples(std::move(prefill)),
            .decode = Samples(std::move(decode)),
            .ttft_beyond_server = Samples(std::move(beyond))};
  }
};

// Adds a completed request; whether it kept the goals.
bool Collect(const RequestRecord& record, const GoodputGoals& goals, Collected* collected) {
  const double e2el = (record.ended - record.sent) * kMilli;
  collected->e2el.push_back(e2el);
  if (!record.first_token) return !goals.any();
  const double ttft = (*record.first_token - record.sent) * kMilli;
  collected->ttft.push_back(ttft);
  for (const TokenArrival& arrival : record.later) {
    collected->itl.push_back(static_cast<double>(arrival.gap) * kMilli);
  }
  // Of one token there is none, which breaks no goal.
  double tpot = 0;
  if (record.output_tokens > 1) {
    tpot = (LastToken(record) - *record.first_token) * kMilli / (record.output_tokens - 1);
    collected->tpot.push_back(tpot);
  }
  if (record.server) {
    const double queued = record.server->queued * kMilli;
    const double prefill = record.server->prefill * kMilli;
    collected->queued.push_back(queued);
    collected->prefill.push_back(prefill);
    collected->beyond.push_back(ttft - queued - prefill);
    if (record.output_tokens > 1) {
      collected->decode.push_back(record.server->decode * kMilli / (record.output_tokens - 1));
    }
  }
  return ttft <= goals.ttft.value_or(ttft) && tpot <= goals.tpot.value_or(tpot) &&
         e2el <= goals.e2el.value_or(e2el) && (!goals.itl || LargestGap(record) <= *goals.itl);
}

int64_t PeakRunning(const std::vector<RequestRecord>& records) {
  std::vector<std::pair<double, int>> changes;
  for (const RequestRecord& record : records) {
    changes.emplace_back(record.sent, 1);
    changes.emplace_back(record.ended, -1);
  }
  std::sort(changes.begin(), changes.end());  // at one time ends come first
  int64_t running = 0;
  int64_t peak = 0;
  for (const auto& [seconds, change] : changes) peak = std::max(peak, running += change);
  return peak;
}

// Tokens of all requests; sets what is known from their arrivals alone.
void CountTokens(const LoadResult& result, LoadSummary* summary) {
  std::vector<int64_t> by_second(static_cast<size_t>(result.seconds) + 1);
  int64_t messages = 0;
  for (const RequestRecord& record : result.records) {
    VisitTokens(record, [&](double seconds, int32_t tokens) {
      by_second[std::min(static_cast<size_t>(seconds), by_second.size() - 1)] += tokens;
      summary->received_tokens += tokens;
      ++messages;
    });
  }
  summary->peak_output_rate =
      static_cast<double>(*std::max_element(by_second.begin(), by_second.end()));
  if (messages > 0) {
    summary->tokens_per_message = static_cast<double>(summary->received_tokens) / messages;
  }
}

}  // namespace

int64_t LoadSummary::count(Outcome outcome) const {
  const auto found = requests.find(outcome);
  return found == requests.end() ? 0 : found->second;
}

int64_t LoadSummary::total() const {
  int64_t total = 0;
  for (const auto& [outcome, count] : requests) total += count;
  return total;
}

LoadSummary Summarize(const LoadResult& result, const GoodputGoals& goals) {
  LoadSummary summary;
  summary.seconds = result.seconds;
  summary.interrupted = result.interrupted;
  Collected collected;
  std::vector<double> lags;
  double running_seconds = 0;
  for (const RequestRecord& record : result.records) {
    ++summary.requests[record.outcome];
    lags.push_back((record.sent - record.due) * kMilli);
    running_seconds += record.ended - record.sent;
    if (record.outcome == Outcome::kFailed) {
      Failures& failures = summary.failures[record.status.error_code()];
      if (failures.count++ == 0) failures.message = record.status.error_message();
    }
    if (record.outcome != Outcome::kCompleted) continue;
    summary.input_tokens += record.prompt_tokens;
    summary.output_tokens += record.output_tokens;
    if (Collect(record, goals, &collected)) ++summary.good;
  }
  CountTokens(result, &summary);
  summary.peak_running = PeakRunning(result.records);
  summary.latencies = std::move(collected).Sort();
  std::vector<double> delays;
  delays.reserve(result.delays.size());
  for (const float delay : result.delays) delays.push_back(static_cast<double>(delay) * kMilli);
  summary.client.delay_bounds = Samples(std::move(delays));
  summary.client.send_lags = Samples(std::move(lags));
  if (result.seconds > 0) {
    summary.mean_running = running_seconds / result.seconds;
    summary.client.cpu_share = result.cpu_seconds / result.seconds;
  }
  return summary;
}

}  // namespace retnet
