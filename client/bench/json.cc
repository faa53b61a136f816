#include "client/bench/json.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/client.h"

namespace retnet {
namespace {

using nlohmann::ordered_json;

// JSON has no infinity.
ordered_json Number(double value) {
  return std::isinf(value) ? ordered_json("inf") : ordered_json(value);
}

// mean_KEY_ms and so on; null where there are no samples.
void AddSamples(const std::string& key, const Samples& samples,
                const std::vector<double>& percentiles, ordered_json* object) {
  const auto add = [&](const std::string& statistic, double value) {
    ordered_json& field = (*object)[absl::StrCat(statistic, "_", key, "_ms")];
    if (!samples.empty()) field = value;
  };
  const bool empty = samples.empty();
  add("mean", empty ? 0 : samples.Mean());
  add("median", empty ? 0 : samples.Percentile(50));
  add("std", empty ? 0 : samples.StandardDeviation());
  for (const double percent : percentiles) {
    add(absl::StrCat("p", percent), empty ? 0 : samples.Percentile(percent));
  }
  add("max", empty ? 0 : samples.Greatest());
}

void AddCounts(const BenchOptions& options, const LoadSummary& summary, ordered_json* object) {
  ordered_json& json = *object;
  const double seconds = summary.seconds;
  const auto rate = [seconds](int64_t count) {
    return seconds > 0 ? static_cast<double>(count) / seconds : 0;
  };
  const int64_t completed = summary.count(Outcome::kCompleted);
  json["duration"] = seconds;
  json["completed"] = completed;
  json["failed"] = summary.count(Outcome::kFailed);
  json["total_input_tokens"] = summary.input_tokens;
  json["total_output_tokens"] = summary.output_tokens;
  json["request_throughput"] = rate(completed);
  json["request_goodput"] = options.goals.any() ? ordered_json(rate(summary.good)) : nullptr;
  json["output_throughput"] = rate(summary.output_tokens);
  json["total_token_throughput"] = rate(summary.input_tokens + summary.output_tokens);
  json["max_output_tokens_per_s"] = summary.peak_output_rate;
  json["max_concurrent_requests"] = summary.peak_running;
  json["mean_concurrent_requests"] = summary.mean_running;
  json["input_throughput"] = rate(summary.input_tokens);
  json["received_tokens"] = summary.received_tokens;
  json["tokens_per_message"] = summary.tokens_per_message;
  json["requests"] = summary.total();
  json["good"] = options.goals.any() ? ordered_json(summary.good) : nullptr;
  json["provoked"] = {{"cancelled", summary.count(Outcome::kCancelled)},
                      {"slow_readers", summary.count(Outcome::kDawdled)},
                      {"vanished", summary.count(Outcome::kVanished)}};
  json["interrupted"] = summary.count(Outcome::kInterrupted);
  json["failures"] = ordered_json::object();
  for (const auto& [code, failures] : summary.failures) {
    json["failures"][CodeName(code)] = {{"count", failures.count}, {"message", failures.message}};
  }
}

// Seconds, as vLLM has them; an entry for each request in the order of their ends.
void AddDetails(const std::vector<RequestRecord>& records, ordered_json* object) {
  ordered_json& json = *object;
  for (const char* key : {"input_lens", "output_lens", "start_times", "ttfts", "itls", "errors"}) {
    json[key] = ordered_json::array();
  }
  for (const RequestRecord& record : records) {
    json["input_lens"].push_back(record.prompt_tokens);
    json["output_lens"].push_back(record.output_tokens);
    json["start_times"].push_back(record.sent);
    json["ttfts"].push_back(record.first_token ? ordered_json(*record.first_token - record.sent)
                                               : nullptr);
    ordered_json gaps = ordered_json::array();
    for (const TokenArrival& arrival : record.later) gaps.push_back(arrival.gap);
    json["itls"].push_back(std::move(gaps));
    json["errors"].push_back(record.status.ok()
                                 ? ""
                                 : absl::StrCat(CodeName(record.status.error_code()), ": ",
                                                record.status.error_message()));
  }
}

ordered_json SettingJson(const BenchSetting& setting) {
  const BenchOptions& options = *setting.options;
  return {{"date", setting.date},
          {"backend", "retnet"},
          {"label", options.label.empty() ? ordered_json(nullptr) : ordered_json(options.label)},
          {"model_id", setting.model.name()},
          {"server", setting.model.backend()},
          {"server_version", setting.model.server_version()},
          {"command", setting.command},
          {"seed", options.workload.seed},
          {"burstiness", Number(options.arrivals.burstiness)},
          {"burst_size", options.arrivals.burst_size}};
}

void AddRun(const BenchOptions& options, const BenchRun& run, ordered_json* object) {
  ordered_json& json = *object;
  json["request_rate"] = Number(run.point.request_rate);
  json["max_concurrency"] = run.point.max_concurrency > 0 ? ordered_json(run.point.max_concurrency)
                                                          : ordered_json(nullptr);
  json["num_prompts"] = run.summary.total();
  AddCounts(options, run.summary, object);
  const Latencies& latencies = run.summary.latencies;
  for (const NamedSamples& named : ReportedLatencies(options, latencies)) {
    AddSamples(named.key, *named.samples, options.metric_percentiles, object);
  }
  for (const NamedSamples& named : ServerLatencies(latencies)) {
    AddSamples(named.key, *named.samples, options.metric_percentiles, object);
  }
  json["client_cpu_share"] = run.summary.client.cpu_share;
  AddSamples("client_delay", run.summary.client.delay_bounds, options.metric_percentiles, object);
  AddSamples("send_lag", run.summary.client.send_lags, options.metric_percentiles, object);
  if (options.save_detailed) AddDetails(run.result.records, object);
}

}  // namespace

ordered_json BenchJson(const BenchSetting& setting, const std::vector<BenchRun>& runs) {
  ordered_json object = SettingJson(setting);
  if (!setting.is_sweep) {
    AddRun(*setting.options, runs[0], &object);
    return object;
  }
  for (const BenchRun& run : runs) {
    ordered_json figures;
    AddRun(*setting.options, run, &figures);
    object["runs"].push_back(std::move(figures));
  }
  return object;
}

}  // namespace retnet
