// What callers of an engine hand over to its thread.
#ifndef RETNET_ENGINE_INBOX_H_
#define RETNET_ENGINE_INBOX_H_

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/request.h"
#include "engine/scheduling/sequence.h"

namespace retnet {

// How a caller ends a request: as CANCELLED, or as finished.
enum class Ending { kCancel, kStop };

// Thread-compatible.
struct Inbox {
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<std::function<void()>> tasks;
  std::vector<std::pair<RequestId, Ending>> endings;
  absl::Status end_all;  // not OK: ends every sequence with it
  bool closing = false;  // the engine thread ends after this turn

  bool empty() const {
    return sequences.empty() && tasks.empty() && endings.empty() && end_all.ok() && !closing;
  }
  // Keeps the vectors' memory.
  void Clear() {
    sequences.clear();
    tasks.clear();
    endings.clear();
    end_all = absl::OkStatus();
  }
};

}  // namespace retnet

#endif  // RETNET_ENGINE_INBOX_H_
