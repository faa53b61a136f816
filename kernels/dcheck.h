// RETNET_DCHECK(condition): aborts, naming file, line and condition, when an invariant of ours is
// broken. Never for input, of whatever origin: that is answered with a Status.
//
// On in builds for tests, sanitizers and fuzzing; off in the product and in builds for benchmarks
// (RETNET_DCHECKS in CMakeLists.txt). Without it the condition is compiled but not evaluated.
// Include it in .cc files only, and name these in their folder's retnet_dcheck().
#ifndef RETNET_KERNELS_DCHECK_H_
#define RETNET_KERNELS_DCHECK_H_

#include <cstdio>
#include <cstdlib>

#ifndef RETNET_DCHECKS
#error "name this file in its folder's retnet_dcheck(), which says whether checks are on"
#endif

namespace retnet {

inline constexpr bool kDchecks = RETNET_DCHECKS != 0;

[[noreturn]] inline void DcheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, condition);
  std::abort();
}

}  // namespace retnet

#define RETNET_DCHECK(condition)                              \
  do {                                                        \
    if (::retnet::kDchecks && !(condition)) {                 \
      ::retnet::DcheckFailed(__FILE__, __LINE__, #condition); \
    }                                                         \
  } while (false)

#endif  // RETNET_KERNELS_DCHECK_H_
