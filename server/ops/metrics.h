// The page of metrics that Prometheus reads, over HTTP.
#ifndef RETNET_SERVER_OPS_METRICS_H_
#define RETNET_SERVER_OPS_METRICS_H_

#include <prometheus/exposer.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/ops/call_metrics.h"

namespace retnet {

// http://HOST:PORT/metrics. The figures are taken when the page is asked for, on threads of its
// own: the engine thread does nothing for it. Thread-safe.
class MetricsPage {
 public:
  // Serves from now on; engine and calls must outlive it. FAILED_PRECONDITION where the address
  // ("HOST:PORT"; port 0: any free one) cannot be had.
  static absl::StatusOr<std::unique_ptr<MetricsPage>> Start(const std::string& listen,
                                                            const Engine* engine,
                                                            const CallMetrics* calls);

  // HOST:PORT with the port that was taken.
  const std::string& address() const { return address_; }

 private:
  class Figures;
  MetricsPage(std::string address, std::shared_ptr<Figures> figures,
              std::unique_ptr<prometheus::Exposer> exposer)
      : address_(std::move(address)), figures_(std::move(figures)), exposer_(std::move(exposer)) {}

  const std::string address_;
  const std::shared_ptr<Figures> figures_;
  const std::unique_ptr<prometheus::Exposer> exposer_;  // ends first
};

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_METRICS_H_
