// The metrics page that Prometheus scrapes over HTTP.
#ifndef RETNET_SERVER_OPS_METRICS_H_
#define RETNET_SERVER_OPS_METRICS_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/ops/call_metrics.h"
#include "server/ops/http_server.h"

namespace retnet {

// Serves http://HOST:PORT/metrics on a thread of its own. The values are collected when the page is
// requested. The engine thread does no work for it. Thread-safe.
class MetricsPage {
 public:
  // Starts serving. `engine` and `calls` must outlive the page. FAILED_PRECONDITION if the address
  // ("HOST:PORT"; port 0 means any free port) cannot be used.
  static absl::StatusOr<std::unique_ptr<MetricsPage>> Start(const std::string& listen,
                                                            const Engine* engine,
                                                            const CallMetrics* calls);

  // HOST:PORT with the port in use.
  const std::string& address() const { return server_->address(); }

 private:
  explicit MetricsPage(std::unique_ptr<HttpServer> server) : server_(std::move(server)) {}

  const std::unique_ptr<HttpServer> server_;
};

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_METRICS_H_
