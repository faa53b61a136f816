// Prints how fast typical kernels run; it checks nothing.
#include <chrono>

#include "check.h"

// 64x64 output tile per block of 128 threads: cp.async, ldmatrix, mma.m16n8k16.
__global__ void __launch_bounds__(128)
    tile_gemm(const __nv_bfloat16* A, const __nv_bfloat16* B, float* C, int K) {
  __shared__ __align__(16) __nv_bfloat16 a[64 * 40], b[64 * 40];
  float acc[8][4] = {};
  const int t = threadIdx.x, w = t / 32, l = t % 32;
  A += blockIdx.x * 64 * K;
  C += blockIdx.x * 4096;
  auto address = [](const void* p) { return (unsigned)__cvta_generic_to_shared(p); };
  for (int k0 = 0; k0 < K; k0 += 32) {
    for (int i = t; i < 256; i += 128) {
      const int r = i / 4, c = i % 4 * 8;
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address(&a[r * 40 + c])),
                   "l"(A + r * K + k0 + c));
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address(&b[r * 40 + c])),
                   "l"(B + r * K + k0 + c));
    }
    asm volatile("cp.async.commit_group; cp.async.wait_group 0;");
    __syncthreads();
    for (int kk = 0; kk < 32; kk += 16) {
      unsigned x[4], y[4];
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
                   : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                   : "r"(address(&a[(w * 16 + l % 16) * 40 + kk + l / 16 * 8])));
      for (int n = 0; n < 8; n += 2) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
                     : "=r"(y[0]), "=r"(y[1]), "=r"(y[2]), "=r"(y[3])
                     : "r"(address(&b[(n * 8 + l % 8 + l / 16 * 8) * 40 + kk + (l / 8 & 1) * 8])));
        for (int j = 0; j < 2; ++j)
          asm volatile(
              "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
              "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
              : "+f"(acc[n + j][0]), "+f"(acc[n + j][1]), "+f"(acc[n + j][2]), "+f"(acc[n + j][3])
              : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[2 * j]), "r"(y[2 * j + 1]));
      }
    }
    __syncthreads();
  }
  for (int n = 0; n < 8; ++n)
    for (int i = 0; i < 4; ++i)
      C[(w * 16 + l / 4 + i / 2 * 8) * 64 + n * 8 + l % 4 * 2 + (i & 1)] = acc[n][i];
}
__global__ void shuffles(float* o) {
  float v = threadIdx.x;
  for (int i = 0; i < 1000; ++i) v += __shfl_xor_sync(~0u, v, 1 << (i % 5)) * 1e-6f;
  o[threadIdx.x] = v;
}
__global__ void barriers(float* o) {
  __shared__ float s[256];
  float v = 0;
  for (int i = 0; i < 200; ++i) {
    s[threadIdx.x] = v;
    __syncthreads();
    v += s[threadIdx.x ^ 33];
    __syncthreads();
  }
  o[threadIdx.x] = v;
}
__global__ void axpy(const float* x, float* y, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    y[i] = y[i] * 2.f + x[i];
}

template <class F>
static void timed(const char* what, double count, const char* unit, F f) {
  f();
  LAUNCHED();
  const auto t = std::chrono::steady_clock::now();
  f();
  LAUNCHED();
  const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count();
  printf("speed: %-44s %.3f s, %.1f ns per %s\n", what, s, s / count * 1e9, unit);
}

int main() {
  const int K = 256, G = 256, n = 1 << 22;
  Array<__nv_bfloat16> A(G * 64 * K, __float2bfloat16(0.5f)), B(64 * K, __float2bfloat16(0.25f));
  Array<float> C(G * 4096), x(n), y(n);
  timed("bf16 mma GEMM, 256 blocks of 128, K = 256", G * 4.0 * (K / 16) * 8, "mma",
        [&] { tile_gemm<<<G, 128>>>(A, B, C, K); });
  timed("shuffles", 64. * 256 * 1000, "thread", [&] { shuffles<<<64, 256>>>(x); });
  timed("barriers", 64. * 256 * 400, "thread", [&] { barriers<<<64, 256>>>(x); });
  timed("axpy", n, "element", [&] { axpy<<<4096, 256>>>(x, y, n); });
  return 0;
}
