#include "server/ops/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <sstream>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "server/ops/listener.h"

namespace retnet {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

struct Sample {
  std::vector<ClientMetric::Label> labels;
  double value = 0.0;
};

// A metric family with one value, or with one value for each value of a label.
MetricFamily Family(MetricType type, std::string name, std::string help,
                    const std::vector<Sample>& samples) {
  MetricFamily family{std::move(name), std::move(help), type, {}};
  for (const Sample& sample : samples) {
    ClientMetric& metric = family.metric.emplace_back();
    metric.label = sample.labels;
    metric.counter.value = metric.gauge.value = sample.value;
  }
  return family;
}

MetricFamily Counter(std::string name, std::string help, int64_t value) {
  return Family(MetricType::Counter, std::move(name), std::move(help),
                {{{}, static_cast<double>(value)}});
}

MetricFamily Gauge(std::string name, std::string help, double value) {
  return Family(MetricType::Gauge, std::move(name), std::move(help), {{{}, value}});
}

MetricFamily Histogram(std::string name, std::string help, const LatencyHistogram& latency) {
  MetricFamily family{std::move(name), std::move(help), MetricType::Histogram, {}};
  auto& histogram = family.metric.emplace_back().histogram;
  const LatencyHistogram::Counts counts = latency.counts();
  constexpr auto& kBounds = LatencyHistogram::kBounds;
  for (size_t i = 0; i < counts.buckets.size(); ++i) {
    histogram.sample_count += counts.buckets[i];
    histogram.bucket.push_back(
        {histogram.sample_count,
         i < kBounds.size() ? kBounds[i] : std::numeric_limits<double>::infinity()});
  }
  histogram.sample_sum = counts.seconds;
  return family;
}

// The parts of "/retnet.v1.Generation/Generate". CallMetrics::kUnknown has one part, which stands
// for both.
std::vector<ClientMetric::Label> CallLabels(std::string_view method, grpc::StatusCode code) {
  method.remove_prefix(method.starts_with('/') ? 1 : 0);
  const size_t slash = method.find('/');
  return {{"service", std::string(method.substr(0, slash))},
          {"method", std::string(method.substr(slash + 1))},
          {"code", absl::StatusCodeToString(static_cast<absl::StatusCode>(code))}};
}

// What the page says.
class Figures {
 public:
  Figures(const Engine* engine, const CallMetrics* calls) : engine_(engine), calls_(calls) {}

  std::vector<MetricFamily> Collect() const {
    const EngineStats stats = engine_->stats();
    std::vector<MetricFamily> families;
    AddEngine(stats, &families);
    AddStates(stats, &families);
    AddSnapshots(stats.snapshots, &families);
    AddStoreHealth(stats, &families);
    AddCalls(&families);
    AddAliases(stats, &families);
    return families;
  }

 private:
  using Families = std::vector<MetricFamily>;

  void AddEngine(const EngineStats& stats, Families* families) const {
    const ModelInfo& info = engine_->model_info();
    families->push_back(Family(
        MetricType::Gauge, "retnet_info", "Always 1; its labels say what is served.",
        {{{{"version", RETNET_VERSION}, {"model", info.name}, {"backend", info.backend}}, 1.0}}));
    families->insert(
        families->end(),
        {Gauge("retnet_healthy", "1 until the model has failed.", engine_->healthy() ? 1 : 0),
         Gauge("retnet_requests_waiting", "Samples accepted that have no slot.", stats.waiting),
         Gauge("retnet_requests_running", "Samples that have a slot.", stats.running),
         Counter("retnet_requests_finished_total", "Samples that ended, in whatever way.",
                 stats.requests_finished),
         Counter("retnet_requests_refused_total", "Samples that were not accepted.",
                 stats.requests_refused),
         Counter("retnet_steps_total", "Steps of the model.", stats.steps),
         Counter("retnet_steps_ahead_total", "Of them, launched before the one before was over.",
                 stats.steps_ahead),
         Counter("retnet_prompt_tokens_total", "Tokens of prompts that were computed.",
                 stats.prompt_tokens),
         Counter("retnet_generated_tokens_total", "Tokens that were sampled.",
                 stats.generated_tokens),
         Counter("retnet_drafted_tokens_total", "Tokens guessed ahead.", stats.drafted_tokens),
         Counter("retnet_accepted_tokens_total", "Tokens guessed ahead that were right.",
                 stats.accepted_tokens)});
  }

  static void AddStates(const EngineStats& stats, Families* families) {
    families->insert(
        families->end(),
        {Family(
             MetricType::Gauge, "retnet_slots", "Slots of the device by what they hold.",
             {{{{"state", "live"}}, static_cast<double>(stats.running)},
              {{{"state", "resting"}}, static_cast<double>(stats.parked_slots)},
              {{{"state", "free"}}, static_cast<double>(stats.free_slots - stats.parked_slots)}}),
         Counter("retnet_preemptions_total",
                 "Running sequences that gave up their slots to another client's, to go on later.",
                 stats.preemptions),
         Gauge("retnet_preempted_state_bytes", "Their states, in host memory.", stats.pinned_bytes),
         Gauge("retnet_host_state_bytes", "States in host memory.", stats.host_state_bytes),
         Counter("retnet_evictions_total", "States moved from a slot or dropped from host memory.",
                 stats.evictions),
         Gauge("retnet_sessions", "Kept sessions in memory.", stats.sessions),
         Gauge("retnet_cached_prefixes", "Prefixes of prompts that have a state.",
               stats.cached_prefixes),
         Gauge("retnet_cached_prefix_bytes", "Their states, on the device and in host memory.",
               stats.cached_prefix_bytes),
         Counter("retnet_prefix_cache_hits_total",
                 "Prompts of at least a chunk that began with a cached prefix.", stats.cache_hits),
         Counter("retnet_prefix_cache_misses_total", "Prompts of at least a chunk that did not.",
                 stats.cache_misses)});
  }

  static void AddSnapshots(const SnapshotIoStats& stats, Families* families) {
    families->insert(
        families->end(),
        {Counter("retnet_snapshot_writes_total", "Snapshots stored.", stats.written),
         Counter("retnet_snapshot_written_bytes_total", "Bytes stored.", stats.written_bytes),
         Counter("retnet_snapshot_writes_spared_total",
                 "Snapshots that a newer one of their session replaced before they were stored.",
                 stats.replaced),
         Counter("retnet_snapshot_reads_total", "Snapshots read.", stats.read),
         Counter("retnet_snapshot_read_bytes_total", "Bytes read.", stats.read_bytes),
         Counter("retnet_snapshot_missing_total", "Reads of what the store does not have.",
                 stats.missing),
         Family(MetricType::Counter, "retnet_snapshot_refused_total",
                "Snapshots read and not loaded: damaged, or another model's or session's.",
                {{{{"reason", "damaged"}}, static_cast<double>(stats.refused_damaged)},
                 {{{"reason", "foreign"}}, static_cast<double>(stats.refused_foreign)}}),
         Counter("retnet_snapshot_conflicts_total",
                 "Turns lost because another server went on with their session.", stats.conflicts),
         Counter("retnet_snapshot_queue_full_total", "Snapshots not stored for lack of memory.",
                 stats.queue_full),
         Counter("retnet_snapshot_failures_total", "Operations of the store that failed.",
                 stats.failed),
         Gauge("retnet_snapshot_queued_bytes", "Snapshots on their way to the store.",
               stats.queued_bytes)});
  }

  static void AddStoreHealth(const EngineStats& stats, Families* families) {
    families->insert(
        families->end(),
        {Family(MetricType::Gauge, "retnet_snapshot_store_healthy",
                "1 unless the last operation of this kind failed; 1 without a store.",
                {{{{"operation", "read"}}, stats.store_readable ? 1.0 : 0.0},
                 {{{"operation", "write"}}, stats.store_writable ? 1.0 : 0.0}}),
         Gauge("retnet_sessions_not_stored", "Sessions in memory whose last write failed.",
               stats.sessions_not_stored),
         Counter("retnet_sessions_lost_total",
                 "Sessions that left memory and then could not be stored.", stats.sessions_lost)});
  }

  void AddCalls(Families* families) const {
    std::vector<Sample> samples;
    for (const auto& [call, count] : calls_->calls()) {
      samples.push_back({CallLabels(call.first, call.second), static_cast<double>(count)});
    }
    families->insert(
        families->end(),
        {Family(MetricType::Counter, "retnet_calls_total", "Calls that ended.", samples),
         Histogram("retnet_time_to_first_token_seconds",
                   "From a sample's submission to its first token.", calls_->first_token()),
         Histogram("retnet_inter_token_seconds", "Between the tokens of a sample.",
                   calls_->between_tokens()),
         Histogram("retnet_queue_seconds", "From a sample's submission to its first step.",
                   calls_->queued())});
  }

  // Names that Kubernetes' inference extension and dashboards for vLLM look for.
  void AddAliases(const EngineStats& stats, Families* families) const {
    const ModelInfo& info = engine_->model_info();
    const auto alias = [&](const char* name, const char* help, double value) {
      families->push_back(
          Family(MetricType::Gauge, name, help, {{{{"model_name", info.name}}, value}}));
    };
    alias("vllm:num_requests_waiting", "retnet_requests_waiting.", stats.waiting);
    alias("vllm:num_requests_running", "retnet_requests_running.", stats.running);
    alias("vllm:kv_cache_usage_perc", "Share of the slots that running requests have, 0 to 1.",
          static_cast<double>(stats.running) / info.slots);
  }

  const Engine* const engine_;
  const CallMetrics* const calls_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsPage>> MetricsPage::Start(const std::string& listen,
                                                                const Engine* engine,
                                                                const CallMetrics* calls) {
  ListenerOptions options;
  options.flag = "--metrics-listen";
  ASSIGN_OR_RETURN(Listener listener, Listener::Bind(listen, options));
  const auto page = [figures = Figures(engine, calls)]() -> HttpServer::Answer {
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, figures.Collect());
    return {200, "text/plain; version=0.0.4; charset=utf-8", std::move(text).str()};
  };
  ASSIGN_OR_RETURN(std::unique_ptr<HttpServer> server,
                   HttpServer::Start(std::move(listener), {{"/metrics", page}}));
  return std::unique_ptr<MetricsPage>(new MetricsPage(std::move(server)));
}

}  // namespace retnet
