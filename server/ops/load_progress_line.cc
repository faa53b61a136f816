#include "server/ops/load_progress_line.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "server/ops/logging.h"

namespace retnet {
namespace {

constexpr absl::Duration kFirst = absl::Milliseconds(200);
constexpr absl::Duration kNextOnTerminal = absl::Milliseconds(100);
constexpr absl::Duration kNextInLog = absl::Seconds(5);
constexpr int kBarWidth = 30;

void WriteToTerminal(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

void WriteToLog(std::string_view text) { Log(LogLevel::kInfo, text); }

}  // namespace

LoadProgressLine::LoadProgressLine(std::string model)
    : LoadProgressLine(std::move(model), isatty(STDERR_FILENO) == 1, absl::Now(),
                       isatty(STDERR_FILENO) == 1 ? WriteToTerminal : WriteToLog) {}

LoadProgressLine::LoadProgressLine(std::string model, bool terminal, absl::Time now,
                                   std::function<void(std::string_view)> write)
    : model_(std::move(model)),
      terminal_(terminal),
      begun_(now),
      write_(std::move(write)),
      next_(now + kFirst) {}

void LoadProgressLine::Show(const LoadProgress& progress, absl::Time now) {
  if (now < next_) return;
  next_ = now + (terminal_ ? kNextOnTerminal : kNextInLog);
  const double share =
      progress.total > 0 ? static_cast<double>(progress.bytes) / progress.total : 0;
  const std::string text =
      absl::StrFormat("loading %s: %s, %d %% after %.1f s", model_, progress.activity,
                      static_cast<int>(100 * share), absl::ToDoubleSeconds(now - begun_));
  if (!terminal_) return write_(text);
  const int full = static_cast<int>(kBarWidth * share);
  // Return, the line, and what is left of a longer one erased.
  write_(absl::StrCat("\r[", std::string(full, '#'), std::string(kBarWidth - full, '.'), "] ", text,
                      "\033[K"));
  shown_ = true;
}

void LoadProgressLine::End() {
  if (std::exchange(shown_, false)) write_("\n");
}

}  // namespace retnet
