// Settings, all read once from CUDASIM_* environment variables (see README.md).
#ifndef RETNET_TESTS_CUDASIM_SRC_RUNTIME_OPTIONS_H_
#define RETNET_TESTS_CUDASIM_SRC_RUNTIME_OPTIONS_H_

#include <cstdint>
#include <string>

namespace cudasim {

struct Options {
  int order = 0;  // thread schedule: 0 ascending, 1 descending, 2 shuffled
  uint32_t seed = 1;
  bool race = false, check = false, async = false;
  bool init_check = true;       // with check: uninitialised shared memory reads
  bool strict_exit = false;     // barrier after threads of the block exited is a fault
  bool strict_shuffle = false;  // shuffle from a lane outside the mask is a fault
  bool lax_barrier = false, lax_cp_async = false;
  bool poison = true;
  int workers = 0;  // OS threads executing blocks
  uint32_t stack_kb = 256;
  int cc_major = 8, cc_minor = 0;
  int sm_count = 108;
  uint64_t memory = 80ull << 30;
  uint32_t shared_optin = 163 * 1024;
  int async_flush_ms = 200;
  int livelock_seconds = 120;  // a block that only spins for this long is a fault
  std::string home;            // the folder of `run`
};
const Options& options();

constexpr int kFaultStatus = 86;  // exit status after a detected fault

}  // namespace cudasim

#endif  // RETNET_TESTS_CUDASIM_SRC_RUNTIME_OPTIONS_H_
