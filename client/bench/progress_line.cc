#include "client/bench/progress_line.h"

#include <unistd.h>

#include <chrono>
#include <iostream>
#include <utility>

#include "absl/strings/str_format.h"

namespace retnet {
namespace {

constexpr std::chrono::milliseconds kInterval(200);
// Back to the line's begin, and clear it.
constexpr char kClear[] = "\r\x1b[K";

}  // namespace

ProgressLine::ProgressLine(std::string title, const LoadProgress* progress)
    : title_(std::move(title)), progress_(progress) {
  if (isatty(STDERR_FILENO) != 0) thread_ = std::thread([this] { Run(); });
}

ProgressLine::~ProgressLine() {
  if (!thread_.joinable()) return;
  {
    const MutexLock lock(&mu_);
    ended_ = true;
  }
  ended_changed_.NotifyAll();
  thread_.join();
}

void ProgressLine::Run() {
  const auto start = std::chrono::steady_clock::now();
  auto before = start;
  int64_t tokens_before = 0;
  double rate = 0;  // smoothed over about a second
  MutexLock lock(&mu_);
  while (true) {
    const auto next = std::chrono::steady_clock::now() + kInterval;
    while (!ended_ && ended_changed_.WaitUntil(&mu_, next)) continue;
    if (ended_) break;
    const auto now = std::chrono::steady_clock::now();
    const int64_t tokens = progress_->tokens;
    const double seconds = std::chrono::duration<double>(now - before).count();
    rate += 0.2 * (static_cast<double>(tokens - tokens_before) / seconds - rate);
    before = now;
    tokens_before = tokens;
    std::cerr << kClear
              << absl::StrFormat("%s  %.0f s  %d ended  %d running  %d failed  %.0f tok/s", title_,
                                 std::chrono::duration<double>(now - start).count(),
                                 progress_->ended.load(), progress_->running.load(),
                                 progress_->failed.load(), rate)
              << std::flush;
  }
  std::cerr << kClear << std::flush;
}

}  // namespace retnet
