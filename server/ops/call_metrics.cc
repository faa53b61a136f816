#include "server/ops/call_metrics.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "server/ops/served_services.h"

namespace retnet {
namespace {

std::set<std::string, std::less<>> ServedMethods() {
  std::set<std::string, std::less<>> methods;
  for (const auto* service : ServedServices()) {
    for (int i = 0; i < service->method_count(); ++i) {
      methods.insert(absl::StrCat("/", service->full_name(), "/", service->method(i)->name()));
    }
  }
  return methods;
}

}  // namespace

void LatencyHistogram::Observe(absl::Duration duration, int64_t times) {
  const double seconds = absl::ToDoubleSeconds(duration);
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
  buckets_[bound - kBounds.begin()].fetch_add(times, std::memory_order_relaxed);
  seconds_.fetch_add(seconds * static_cast<double>(times), std::memory_order_relaxed);
}

LatencyHistogram::Counts LatencyHistogram::counts() const {
  Counts counts;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    counts.buckets[i] = buckets_[i].load(std::memory_order_relaxed);
  }
  counts.seconds = seconds_.load(std::memory_order_relaxed);
  return counts;
}

// Counts one call when it ends.
class CallMetrics::CallCounter : public grpc::experimental::Interceptor {
 public:
  CallCounter(CallMetrics* metrics, const char* method) : metrics_(metrics), method_(method) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      metrics_->CountCall(method_, methods->GetSendStatus().error_code());
    }
    methods->Proceed();
  }

 private:
  CallMetrics* const metrics_;
  const char* const method_;
};

class CallMetrics::CallCounters : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit CallCounters(CallMetrics* metrics) : metrics_(metrics) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    return new CallCounter(metrics_, info->method());
  }

 private:
  CallMetrics* const metrics_;
};

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> CallMetrics::Interceptor() {
  return std::make_unique<CallCounters>(this);
}

CallMetrics::CallMetrics() : methods_(ServedMethods()) {}

void CallMetrics::CountCall(const char* method, grpc::StatusCode code) {
  const auto known = methods_.find(std::string_view(method));
  const MutexLock lock(&mu_);
  ++calls_[{known != methods_.end() ? *known : kUnknown, code}];
}

CallMetrics::Calls CallMetrics::calls() const {
  const MutexLock lock(&mu_);
  return calls_;
}

}  // namespace retnet
