#ifndef RETNET_TESTS_SANITIZED_H_
#define RETNET_TESTS_SANITIZED_H_

namespace retnet {

// Whether a sanitizer watches this build's memory or threads. It slows computing down by a factor
// of ten, and is after faults of the product: what computes long to compare numbers, with code that
// only tests use, is left to the ordinary build.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace retnet

#endif  // RETNET_TESTS_SANITIZED_H_
