// Minimal test support. Comparisons are written so that NaN on either side fails.
#ifndef RETNET_TESTS_CUDASIM_TESTS_CHECK_H_
#define RETNET_TESTS_CUDASIM_TESTS_CHECK_H_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

inline int g_failures = 0, g_checks = 0;

inline void check_true(bool ok, const char* what, const char* file, int line) {
  ++g_checks;
  if (!ok && ++g_failures <= 20) printf("FAIL %s:%d: %s\n", file, line, what);
}
inline bool near(double got, double want, double tol) {  // NaN-safe: false unless provably close
  return std::isfinite(got) && std::isfinite(want) &&
         std::fabs(got - want) <= tol * (1 + std::fabs(want));
}
inline void check_near(double got, double want, double tol, const char* what, const char* file,
                       int line, int index) {
  ++g_checks;
  if (!near(got, want, tol) && ++g_failures <= 20)
    printf("FAIL %s:%d: %s [%d]: got %.9g want %.9g\n", file, line, what, index, got, want);
}
inline void check_equal(long long got, long long want, const char* what, const char* file, int line,
                        int index) {
  ++g_checks;
  if (got != want && ++g_failures <= 20)
    printf("FAIL %s:%d: %s [%d]: got %lld (%#llx) want %lld (%#llx)\n", file, line, what, index,
           got, got, want, want);
}
#define CHECK(x) check_true((x), #x, __FILE__, __LINE__)
#define NEAR(got, want, tol) check_near((got), (want), (tol), #got, __FILE__, __LINE__, 0)
#define NEAR_I(i, got, want, tol) \
  check_near((got), (want), (tol), #got, __FILE__, __LINE__, (int)(i))
#define EQUAL(got, want) \
  check_equal((long long)(got), (long long)(want), #got, __FILE__, __LINE__, 0)
#define EQUAL_I(i, got, want) \
  check_equal((long long)(got), (long long)(want), #got, __FILE__, __LINE__, (int)(i))
#define CUDA(call)                                                                       \
  do {                                                                                   \
    cudaError_t e_ = (call);                                                             \
    if (e_ != cudaSuccess) {                                                             \
      printf("FAIL %s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(e_)); \
      exit(1);                                                                           \
    }                                                                                    \
  } while (0)
#define LAUNCHED()                 \
  do {                             \
    CUDA(cudaGetLastError());      \
    CUDA(cudaDeviceSynchronize()); \
  } while (0)

// Device array with a host copy.
template <class T>
struct Array {
  std::vector<T> h;
  T* d = nullptr;
  explicit Array(size_t n, T fill = T()) : h(n, fill) {
    CUDA(cudaMalloc(&d, n * sizeof(T)));
    up();
  }
  explicit Array(std::vector<T> v) : h(std::move(v)) {
    CUDA(cudaMalloc(&d, h.size() * sizeof(T)));
    up();
  }
  Array(const Array&) = delete;
  ~Array() { cudaFree(d); }
  void up() { CUDA(cudaMemcpy(d, h.data(), h.size() * sizeof(T), cudaMemcpyHostToDevice)); }
  std::vector<T>& down() {
    CUDA(cudaMemcpy(h.data(), d, h.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return h;
  }
  T& operator[](size_t i) { return h[i]; }
  size_t size() const { return h.size(); }
  operator T*() { return d; }
};
inline float noise(unsigned i) {  // deterministic values in [-1, 1)
  i = i * 747796405u + 2891336453u;
  i = ((i >> ((i >> 28) + 4)) ^ i) * 277803737u;
  return (float)((i >> 22 ^ i) & 0xffffff) / 8388608.0f - 1.0f;
}
inline int finish(const char* name) {
  printf("%s: %d checks, %d failures\n", name, g_checks, g_failures);
  return g_failures ? 1 : 0;
}

#endif  // RETNET_TESTS_CUDASIM_TESTS_CHECK_H_
