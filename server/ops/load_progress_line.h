// Shows the operator how far a model is loaded.
#ifndef RETNET_SERVER_OPS_LOAD_PROGRESS_LINE_H_
#define RETNET_SERVER_OPS_LOAD_PROGRESS_LINE_H_

#include <functional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "models/load.h"

namespace retnet {

// On a terminal one line with a bar, which is drawn anew; elsewhere a line in the log from time to
// time. Nothing is shown for loading that takes less than 0.2 s. Thread-compatible.
class LoadProgressLine {
 public:
  // `model` is the folder that is loaded.
  explicit LoadProgressLine(std::string model);
  // The same with a terminal or log of its own, for tests.
  LoadProgressLine(std::string model, bool terminal, absl::Time now,
                   std::function<void(std::string_view)> write);

  void Show(const LoadProgress& progress) { Show(progress, absl::Now()); }
  void Show(const LoadProgress& progress, absl::Time now);
  // Ends the line of a terminal. Called by the destructor if nobody did.
  void End();
  ~LoadProgressLine() { End(); }

 private:
  const std::string model_;
  const bool terminal_;
  const absl::Time begun_;
  const std::function<void(std::string_view)> write_;
  absl::Time next_;
  bool shown_ = false;
};

}  // namespace retnet

#endif  // RETNET_SERVER_OPS_LOAD_PROGRESS_LINE_H_
