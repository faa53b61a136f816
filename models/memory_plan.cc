#include "models/memory_plan.h"

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace retnet {
namespace {

constexpr int64_t kMostSlots = 1024;  // if options.slots is 0
constexpr double kMebibyte = 1 << 20;

std::string Mebibytes(double bytes) { return absl::StrFormat("%.1f MiB", bytes / kMebibyte); }

// In double, because a tiny state_memory_fraction gives more bytes than an integer can hold.
double StateBytes(const MemoryNeed& need, const ModelOptions& options) {
  return options.slots > 0 ? double(need.slot) * options.slots
                           : need.slot / options.state_memory_fraction;
}

std::string States(const MemoryNeed& need, const ModelOptions& options) {
  const std::string states = Mebibytes(StateBytes(need, options));
  const std::string slot = Mebibytes(need.slot);
  if (options.slots > 0) {
    return absl::StrCat(states, " for ", options.slots, " sequences of ", slot);
  }
  return absl::StrCat(states, " for one sequence of ", slot, " to be in a share of ",
                      options.state_memory_fraction);
}

}  // namespace

int64_t ServingBytes(int32_t threads) {
  // Measured with the default model: 16 MiB of pages of the program and its libraries, 3 MiB of
  // heap when idle, and 4 MiB more with 128 streams. Per thread: its stack, heap arena and the
  // scratch of retention.
  constexpr int64_t kProcess = int64_t{24} << 20;
  constexpr int64_t kThread = int64_t{1} << 20;
  return kProcess + threads * kThread;
}

absl::StatusOr<int32_t> PlanSlots(const MemoryNeed& need, const FreeMemory& free,
                                  const ModelOptions& options) {
  const int64_t fixed = need.weights + need.step + need.serving;
  const double whole = fixed + StateBytes(need, options);
  if (whole > free.bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "memory: ", Mebibytes(whole), " are needed (",
        need.weights > 0 ? absl::StrCat(Mebibytes(need.weights), " for weights, ") : "",
        Mebibytes(need.step), " for steps of ", options.max_rows, " rows, ", States(need, options),
        ", ", Mebibytes(need.serving), " for serving), but ", Mebibytes(free.bytes),
        " are free of the ", Mebibytes(free.limit), " that ", free.limit_file, " gives"));
  }
  if (options.slots > 0) return options.slots;
  const double states = (free.bytes - fixed) * options.state_memory_fraction;
  return static_cast<int32_t>(std::clamp<double>(states / need.slot, 1, kMostSlots));
}

}  // namespace retnet
