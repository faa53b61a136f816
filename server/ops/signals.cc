#include "server/ops/signals.h"

#include <pthread.h>
#include <signal.h>

#include "absl/strings/str_cat.h"
#include "server/ops/logging.h"

namespace retnet {
namespace {

sigset_t EndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

void Reload(const std::vector<ReloadHook>& hooks) {
  if (hooks.empty()) Log(LogLevel::kInfo, "SIGHUP: there is nothing to reload");
  for (const ReloadHook& hook : hooks) {
    const absl::Status status = hook.reload();
    if (status.ok()) {
      Log(LogLevel::kInfo, absl::StrCat("SIGHUP: reloaded ", hook.what));
    } else {
      Log(LogLevel::kError,
          absl::StrCat("SIGHUP: cannot reload ", hook.what, ": ", status.message(),
                       "; what was loaded before stays in use"));
    }
  }
}

}  // namespace

void TakeSignals() {
  sigset_t signals = EndSignals();
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

void WaitForEnd(const std::vector<ReloadHook>& hooks) {
  const sigset_t end = EndSignals();
  sigset_t signals = end;
  sigaddset(&signals, SIGHUP);
  int signal = 0;
  while (sigwait(&signals, &signal) == 0 && signal == SIGHUP) Reload(hooks);
  pthread_sigmask(SIG_UNBLOCK, &end, nullptr);
}

}  // namespace retnet
