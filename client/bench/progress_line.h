// A line on standard error that shows the progress of a run.
#ifndef RETNET_CLIENT_BENCH_PROGRESS_LINE_H_
#define RETNET_CLIENT_BENCH_PROGRESS_LINE_H_

#include <string>
#include <thread>

#include "client/bench/load_runner.h"
#include "kernels/mutex.h"

namespace retnet {

// Updates the line five times a second on a thread of its own. The destructor erases the line. Does
// nothing unless standard error is a terminal.
class ProgressLine {
 public:
  ProgressLine(std::string title, const LoadProgress* progress);
  ~ProgressLine();

 private:
  void Run();

  const std::string title_;
  const LoadProgress* const progress_;
  Mutex mu_;
  CondVar ended_changed_;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace retnet

#endif  // RETNET_CLIENT_BENCH_PROGRESS_LINE_H_
