// The metrics page that Prometheus scrapes over HTTP.
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

// Serves http://HOST:PORT/metrics on threads of its own. The values are collected when the page is
// requested. The engine thread does no work for it. Thread-safe.
class MetricsPage {
 public:
  // Starts serving. `engine` and `calls` must outlive the page. FAILED_PRECONDITION if the address
  // ("HOST:PORT"; port 0 means any free port) cannot be used.
  static absl::StatusOr<std::unique_ptr<MetricsPage>> Start(const std::string& listen,
                                                            const Engine* engine,
                                                            const CallMetrics* calls);

  // HOST:PORT with the port in use.
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
