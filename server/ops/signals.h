// The signals of the server's process: SIGTERM and SIGINT end it, SIGHUP reloads, SIGPIPE and
// SIGXFSZ do nothing.
#ifndef RETNET_SERVER_OPS_SIGNALS_H_
#define RETNET_SERVER_OPS_SIGNALS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace retnet {

// Something that SIGHUP reads again. After an error the old content stays in use.
struct ReloadHook {
  std::string what;  // for the log, such as "--auth-tokens FILE"
  std::function<absl::Status()> reload;
};

// Blocks SIGTERM, SIGINT and SIGHUP, so that only WaitForEnd gets them. Ignores SIGPIPE and
// SIGXFSZ: a reader of the log that goes away, or a limit on the size of files, makes a write fail
// and ends nothing. Call this before the first thread is made.
void TakeSignals();

// Returns at the first SIGTERM or SIGINT; the next one ends the process at once. At each SIGHUP
// before that it runs the hooks, on this thread. A later SIGHUP has no effect.
void WaitForEnd(const std::vector<ReloadHook>& hooks);

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_SIGNALS_H_
