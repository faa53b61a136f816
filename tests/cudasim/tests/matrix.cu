// ldmatrix, mma.sync and wmma against matrix products computed on the host.
#include <mma.h>

#include "check.h"
using namespace nvcuda;

// Ldmatrix.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 750
template <int N, bool T>
__device__ void ldm(unsigned a, unsigned* r) {
  if (N == 1) {
    if (T)
      asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                   : "=r"(r[0])
                   : "r"(a));
    else
      asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(a));
  }
  if (N == 2) {
    if (T)
      asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                   : "=r"(r[0]), "=r"(r[1])
                   : "r"(a));
    else
      asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                   : "=r"(r[0]), "=r"(r[1])
                   : "r"(a));
  }
  if (N == 4) {
    if (T)
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                   : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                   : "r"(a));
    else
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                   : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                   : "r"(a));
  }
}
#endif
template <int N, bool T>
__global__ void load_matrices(const unsigned short* x, unsigned* o) {
  __shared__ __align__(16) unsigned short s[32 * 8];
  for (int i = threadIdx.x; i < 256; i += 32) s[i] = x[i];
  __syncwarp();
  unsigned r[4] = {};
  ldm<N, T>((unsigned)__cvta_generic_to_shared(&s[threadIdx.x % (8 * N) * 8]), r);
  for (int i = 0; i < 4; ++i) o[threadIdx.x * 4 + i] = r[i];
}
template <int N, bool T>
static void test_ldmatrix() {
  Array<unsigned short> x(256);
  Array<unsigned> o(128);
  for (int i = 0; i < 256; ++i) x[i] = (unsigned short)(i * 3 + 1);
  x.up();
  load_matrices<N, T><<<1, 32>>>(x, o);
  LAUNCHED();
  o.down();
  for (int l = 0; l < 32; ++l)
    for (int m = 0; m < 4; ++m)
      for (int j = 0; j < 2; ++j) {
        int r = l / 4, c = l % 4 * 2 + j;
        if (T) {
          int t = r;
          r = c;
          c = t;
        }
        EQUAL_I(l * 10 + m, (o[l * 4 + m] >> 16 * j) & 0xffff, m < N ? x[m * 64 + r * 8 + c] : 0);
      }
}

// mma.sync. Every variant computes D = A B + C with A[M][K] row-major and B[K][8] column-major;
// fragments are gathered from global memory by the layout of the PTX ISA.
enum Kind { BF16, F16, F16ACC, TF32, S8, U8S8, BF16K8, F16K8, TF32K4, S8K16 };
template <int K>
struct Shape;
template <Kind kind>
__global__ void mma_kernel(const unsigned* A, const unsigned* B, const unsigned* C, unsigned* D) {
  // one 32-bit word holds 32/bits elements; A is [16][K words], B is [8][K words]
  const int g = threadIdx.x >> 2, q = threadIdx.x & 3;
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  unsigned d[4] = {};
  if (kind == BF16 || kind == F16 || kind == F16ACC || kind == S8 || kind == U8S8 || kind == TF32) {
    const int W = 8;  // words per row
    unsigned a[4] = {A[g * W + q], A[(g + 8) * W + q], A[g * W + q + 4], A[(g + 8) * W + q + 4]},
             b[2] = {B[g * W + q], B[g * W + q + 4]};
    unsigned c[4] = {C[g * 8 + q * 2], C[g * 8 + q * 2 + 1], C[(g + 8) * 8 + q * 2],
                     C[(g + 8) * 8 + q * 2 + 1]};
#define MMA(shape, td, ta, tb, con)                                                           \
  asm volatile("mma.sync.aligned." shape ".row.col." td "." ta "." tb "." td                  \
               " {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%10,%11,%12,%13};"                      \
               : "=" con(d[0]), "=" con(d[1]), "=" con(d[2]), "=" con(d[3])                   \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), con(c[0]), \
                 con(c[1]), con(c[2]), con(c[3]))
    if (kind == F16ACC) {
      const unsigned c0 = __half_as_ushort(__float2half(__uint_as_float(c[0]))) |
                          (unsigned)__half_as_ushort(__float2half(__uint_as_float(c[1]))) << 16,
                     c1 = __half_as_ushort(__float2half(__uint_as_float(c[2]))) |
                          (unsigned)__half_as_ushort(__float2half(__uint_as_float(c[3]))) << 16;
      unsigned e[2];
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1},{%2,%3,%4,%5},{%6,%7},{%8,%9};"
          : "=r"(e[0]), "=r"(e[1])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c0), "r"(c1));
      for (int i = 0; i < 4; ++i)
        d[i] = __float_as_uint(
            __half2float(__ushort_as_half((unsigned short)(e[i / 2] >> 16 * (i & 1)))));
    }
    float fd[4], fc[4];
    for (int i = 0; i < 4; ++i) fc[i] = __uint_as_float(c[i]);
#define FMMA(shape, ta)                                                                        \
  asm volatile("mma.sync.aligned." shape ".row.col.f32." ta "." ta                             \
               ".f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%10,%11,%12,%13};"                   \
               : "=f"(fd[0]), "=f"(fd[1]), "=f"(fd[2]), "=f"(fd[3])                            \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(fc[0]), \
                 "f"(fc[1]), "f"(fc[2]), "f"(fc[3]));                                          \
  for (int i = 0; i < 4; ++i) d[i] = __float_as_uint(fd[i])
    if (kind == BF16) {
      FMMA("m16n8k16", "bf16");
    }
    if (kind == F16) {
      FMMA("m16n8k16", "f16");
    }
    if (kind == TF32) {
      FMMA("m16n8k8", "tf32");
    }
    if (kind == S8) MMA("m16n8k32", "s32", "s8", "s8", "r");
    if (kind == U8S8) MMA("m16n8k32", "s32", "u8", "s8", "r");
  } else {
    const int W = 4;
    unsigned a[2] = {A[g * W + q], A[(g + 8) * W + q]}, b = B[g * W + q];
    unsigned c[4] = {C[g * 8 + q * 2], C[g * 8 + q * 2 + 1], C[(g + 8) * 8 + q * 2],
                     C[(g + 8) * 8 + q * 2 + 1]};
    float fd[4], fc[4];
    for (int i = 0; i < 4; ++i) fc[i] = __uint_as_float(c[i]);
#define FMMA2(shape, ta)                                                                        \
  asm volatile("mma.sync.aligned." shape ".row.col.f32." ta "." ta                              \
               ".f32 {%0,%1,%2,%3},{%4,%5},{%6},{%7,%8,%9,%10};"                                \
               : "=f"(fd[0]), "=f"(fd[1]), "=f"(fd[2]), "=f"(fd[3])                             \
               : "r"(a[0]), "r"(a[1]), "r"(b), "f"(fc[0]), "f"(fc[1]), "f"(fc[2]), "f"(fc[3])); \
  for (int i = 0; i < 4; ++i) d[i] = __float_as_uint(fd[i])
    if (kind == BF16K8) {
      FMMA2("m16n8k8", "bf16");
    }
    if (kind == F16K8) {
      FMMA2("m16n8k8", "f16");
    }
    if (kind == TF32K4) {
      FMMA2("m16n8k4", "tf32");
    }
    if (kind == S8K16)
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 "
          "{%0,%1,%2,%3},{%4,%5},{%6},{%7,%8,%9,%10};"
          : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
          : "r"(a[0]), "r"(a[1]), "r"(b), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
  }
  D[g * 8 + q * 2] = d[0];
  D[g * 8 + q * 2 + 1] = d[1];
  D[(g + 8) * 8 + q * 2] = d[2];
  D[(g + 8) * 8 + q * 2 + 1] = d[3];
#endif
}
static double element(unsigned w, Kind kind, int j, bool is_a) {
  float f;
  switch (kind) {
    case BF16:
    case BF16K8:
      return __bfloat162float(__ushort_as_bfloat16((unsigned short)(w >> 16 * j)));
    case F16:
    case F16ACC:
    case F16K8:
      return __half2float(__ushort_as_half((unsigned short)(w >> 16 * j)));
    case TF32:
    case TF32K4:
      w &= 0xffffe000u;
      memcpy(&f, &w, 4);
      return f;
    case U8S8:
      return is_a ? (double)(uint8_t)(w >> 8 * j) : (double)(int8_t)(w >> 8 * j);
    default:
      return (int8_t)(w >> 8 * j);
  }
}
template <Kind kind>
static void test_mma() {
  const int words = kind >= BF16K8 ? 4 : 8, per = kind == TF32 || kind == TF32K4                ? 1
                                                  : kind == S8 || kind == U8S8 || kind == S8K16 ? 4
                                                                                                : 2;
  const bool integer = per == 4;
  Array<unsigned> A(16 * words), B(8 * words), C(128), D(128);
  auto fill = [&](Array<unsigned>& x, unsigned seed) {
    for (size_t i = 0; i < x.size(); ++i) {
      const float f = noise(seed + i), g = noise(seed + i + 999);
      if (per == 4)
        x[i] = (unsigned)(noise(seed + i) * 2e9);
      else if (per == 1)
        memcpy(&x[i], &f, 4);
      else if (kind == BF16 || kind == BF16K8)
        x[i] = __bfloat16_as_ushort(__float2bfloat16(f)) |
               (unsigned)__bfloat16_as_ushort(__float2bfloat16(g)) << 16;
      else
        x[i] = __half_as_ushort(__float2half(f)) | (unsigned)__half_as_ushort(__float2half(g))
                                                       << 16;
    }
  };
  fill(A, 1);
  fill(B, 5000);
  for (int i = 0; i < 128; ++i) {
    const float f = noise(i + 77);
    if (integer)
      C[i] = (unsigned)(int)(f * 1000);
    else
      memcpy(&C[i], &f, 4);
  }
  A.up();
  B.up();
  C.up();
  mma_kernel<kind><<<1, 32>>>(A, B, C, D);
  LAUNCHED();
  D.down();
  for (int r = 0; r < 16; ++r)
    for (int c = 0; c < 8; ++c) {
      float f;
      memcpy(&f, &C[r * 8 + c], 4);
      double s = integer ? (double)(int)C[r * 8 + c] : f;
      for (int w = 0; w < words; ++w)
        for (int j = 0; j < per; ++j)
          s += element(A[r * words + w], kind, j, true) * element(B[c * words + w], kind, j, false);
      if (integer)
        EQUAL_I(r * 8 + c, (int)D[r * 8 + c], (long long)s);
      else {
        memcpy(&f, &D[r * 8 + c], 4);
        NEAR_I(r * 8 + c, f, s, kind == F16ACC ? 3e-3 : 1e-5);
      }
    }
}

// Wmma.
template <class T, class Acc, int M, int N, int K, class LA, class LB>
__global__ void wmma_kernel(const T* A, const T* B, const Acc* C, Acc* D, bool row) {
  __shared__ __align__(32) T s[(M + 16) * (K + 16)];
  for (int i = threadIdx.x; i < (M + 16) * (K + 16); i += 32) s[i] = A[i];
  __syncwarp();
  wmma::fragment<wmma::matrix_a, M, N, K, T, LA> a;
  wmma::fragment<wmma::matrix_b, M, N, K, T, LB> b;
  wmma::fragment<wmma::accumulator, M, N, K, Acc> c, d;
  wmma::load_matrix_sync(a, s, std::is_same<LA, wmma::row_major>::value ? K + 16 : M + 16);
  wmma::load_matrix_sync(b, B, std::is_same<LB, wmma::row_major>::value ? N + 16 : K + 16);
  wmma::load_matrix_sync(c, C, row ? N : M, row ? wmma::mem_row_major : wmma::mem_col_major);
  for (int i = 0; i < c.num_elements; ++i) c.x[i] = c.x[i] + c.x[i];
  wmma::mma_sync(d, a, b, c);
  wmma::store_matrix_sync(D, d, row ? N : M, row ? wmma::mem_row_major : wmma::mem_col_major);
}
static double num(float x) { return x; }
static double num(int x) { return x; }
static double num(__half x) { return __half2float(x); }
static double num(__nv_bfloat16 x) { return __bfloat162float(x); }
static double num(signed char x) { return x; }
static double num(unsigned char x) { return x; }
static void put(float& d, float v) { d = v; }
static void put(__half& d, float v) { d = __float2half(v); }
static void put(__nv_bfloat16& d, float v) { d = __float2bfloat16(v); }
static void put(signed char& d, float v) { d = (signed char)(v * 127); }
static void put(unsigned char& d, float v) { d = (unsigned char)(std::fabs(v) * 255); }
static void put(int& d, float v) { d = (int)(v * 1000); }
template <class T, class Acc, int M, int N, int K, class LA, class LB>
static void test_wmma(bool row) {
  const bool ra = std::is_same<LA, wmma::row_major>::value,
             rb = std::is_same<LB, wmma::row_major>::value;
  const int lda = ra ? K + 16 : M + 16, ldb = rb ? N + 16 : K + 16;
  std::vector<T> va((M + 16) * (K + 16)), vb((K + 16) * (N + 16));
  std::vector<Acc> vc(M * N);
  for (size_t i = 0; i < va.size(); ++i) put(va[i], noise(i));
  for (size_t i = 0; i < vb.size(); ++i) put(vb[i], noise(i + 4444));
  for (size_t i = 0; i < vc.size(); ++i) put(vc[i], noise(i + 8888));
  Array<T> A(va), B(vb);
  Array<Acc> C(vc), D(vc);
  wmma_kernel<T, Acc, M, N, K, LA, LB><<<1, 32>>>(A, B, C, D, row);
  LAUNCHED();
  D.down();
  const int before = g_failures;
  for (int i = 0; i < M; ++i)
    for (int j = 0; j < N; ++j) {
      const int at = row ? i * N + j : j * M + i;
      double s = 2 * num(vc[at]);
      for (int k = 0; k < K; ++k)
        s += num(va[ra ? i * lda + k : k * lda + i]) * num(vb[rb ? k * ldb + j : j * ldb + k]);
      NEAR_I(at, num(D[at]), s, sizeof(Acc) == 2 ? 5e-3 : 1e-5);
    }
  if (g_failures != before) printf("  in %s\n", __PRETTY_FUNCTION__);
}
using R = wmma::row_major;
using L = wmma::col_major;

int main() {
  test_ldmatrix<1, false>();
  test_ldmatrix<2, false>();
  test_ldmatrix<4, false>();
  test_ldmatrix<1, true>();
  test_ldmatrix<2, true>();
  test_ldmatrix<4, true>();
  cudaDeviceProp p;
  CUDA(cudaGetDeviceProperties(&p, 0));
  test_wmma<__half, float, 16, 16, 16, R, L>(true);
  test_wmma<__half, __half, 16, 16, 16, L, R>(false);
  test_wmma<__half, float, 32, 8, 16, R, R>(true);
  test_wmma<__half, float, 8, 32, 16, L, L>(false);
  test_wmma<signed char, int, 16, 16, 16, R, L>(true);
  test_wmma<unsigned char, int, 32, 8, 16, R, L>(true);
  if (p.major >= 8) {
    test_mma<BF16>();
    test_mma<F16>();
    test_mma<F16ACC>();
    test_mma<TF32>();
    test_mma<S8>();
    test_mma<U8S8>();
    test_mma<BF16K8>();
    test_mma<F16K8>();
    test_mma<TF32K4>();
    test_mma<S8K16>();
#ifdef WITH_BF16
    test_wmma<__nv_bfloat16, float, 16, 16, 16, R, L>(true);
    test_wmma<__nv_bfloat16, float, 16, 16, 16, R, R>(false);
    test_wmma<__nv_bfloat16, float, 32, 8, 16, L, R>(true);
    test_wmma<__nv_bfloat16, float, 8, 32, 16, R, L>(true);
#endif
  }
  return finish("matrix");
}
