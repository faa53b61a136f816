// cuBLAS and cuBLASLt stand-ins against a double reference.
#include <cublasLt.h>
#include <cublas_v2.h>

#include <chrono>

#include "check.h"

#define BLAS(call)                                                                        \
  do {                                                                                    \
    cublasStatus_t s_ = (call);                                                           \
    if (s_ != CUBLAS_STATUS_SUCCESS) {                                                    \
      printf("FAIL %s:%d: %s: %s\n", __FILE__, __LINE__, #call, cublasGetStatusName(s_)); \
      exit(1);                                                                            \
    }                                                                                     \
  } while (0)

static double num(float x) { return x; }
static double num(__half x) { return __half2float(x); }
static double num(__nv_bfloat16 x) { return __bfloat162float(x); }
static double num(int x) { return x; }
static double num(signed char x) { return x; }
static void put(float& d, float v) { d = v; }
static void put(__half& d, float v) { d = __float2half(v); }
static void put(__nv_bfloat16& d, float v) { d = __float2bfloat16(v); }
static void put(int& d, float v) { d = (int)(v * 1000); }
static void put(signed char& d, float v) { d = (signed char)(v * 127); }
template <class T>
constexpr cudaDataType_t type() {
  return std::is_same<T, float>::value           ? CUDA_R_32F
         : std::is_same<T, __half>::value        ? CUDA_R_16F
         : std::is_same<T, __nv_bfloat16>::value ? CUDA_R_16BF
         : std::is_same<T, int>::value           ? CUDA_R_32I
                                                 : CUDA_R_8I;
}
template <class T>
std::vector<T> random(size_t n, unsigned seed) {
  std::vector<T> v(n);
  for (size_t i = 0; i < n; ++i) put(v[i], noise(seed + i));
  return v;
}

static cublasHandle_t h;

template <class T, class C>
static void test_gemm(bool ta, bool tb, int m, int n, int k, float alpha, float beta, double tol,
                      int batch = 1) {
  const int lda = (ta ? k : m) + 3, ldb = (tb ? n : k) + 1, ldc = m + 2;
  const size_t sa = (size_t)lda * (ta ? m : k) + 5, sb = (size_t)ldb * (tb ? k : n) + 7,
               sc = (size_t)ldc * n + 2;
  Array<T> A(random<T>(sa * batch, 1)), B(random<T>(sb * batch, 99));
  Array<C> D(random<C>(sc * batch, 777));
  const std::vector<C> before = D.h;
  const bool integer = type<C>() == CUDA_R_32I;
  const int ia = (int)alpha, ib = (int)beta;
  const void *pa = integer ? (const void*)&ia : &alpha, *pb = integer ? (const void*)&ib : &beta;
  const cublasComputeType_t compute = integer ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F;
  const cublasOperation_t oa = ta ? CUBLAS_OP_T : CUBLAS_OP_N, ob = tb ? CUBLAS_OP_T : CUBLAS_OP_N;
  if (batch == 1)
    BLAS(cublasGemmEx(h, oa, ob, m, n, k, pa, A.d, type<T>(), lda, B.d, type<T>(), ldb, pb, D.d,
                      type<C>(), ldc, compute, CUBLAS_GEMM_DEFAULT));
  else
    BLAS(cublasGemmStridedBatchedEx(h, oa, ob, m, n, k, pa, A.d, type<T>(), lda, sa, B.d, type<T>(),
                                    ldb, sb, pb, D.d, type<C>(), ldc, sc, batch, compute,
                                    CUBLAS_GEMM_DEFAULT));
  D.down();
  for (int z = 0; z < batch; ++z)
    for (int j = 0; j < n; ++j)
      for (int i = 0; i < m; ++i) {
        double s = 0;
        for (int l = 0; l < k; ++l)
          s += num(A[z * sa + (ta ? l + (size_t)i * lda : i + (size_t)l * lda)]) *
               num(B[z * sb + (tb ? j + (size_t)l * ldb : l + (size_t)j * ldb)]);
        NEAR_I(i + j * m, num(D[z * sc + i + j * ldc]),
               alpha * s + beta * num(before[z * sc + i + j * ldc]), tol);
      }
  for (int z = 0; z < batch; ++z)
    EQUAL(memcmp(&D[z * sc + m], &before[z * sc + m], sizeof(C)), 0);  // padding untouched
}

static void test_batched_pointers() {
  constexpr int M = 5;
  Array<float> a(random<float>(2 * M * M, 1)), b(random<float>(2 * M * M, 50)), c(2 * M * M);
  Array<float*> pa(2), pb(2), pc(2);
  for (int i = 0; i < 2; ++i)
    pa[i] = a.d + i * M * M, pb[i] = b.d + (1 - i) * M * M, pc[i] = c.d + i * M * M;
  pa.up();
  pb.up();
  pc.up();
  const float one = 1, zero = 0;
  BLAS(cublasGemmBatchedEx(h, CUBLAS_OP_N, CUBLAS_OP_N, M, M, M, &one, (const void* const*)pa.d,
                           CUDA_R_32F, M, (const void* const*)pb.d, CUDA_R_32F, M, &zero,
                           (void* const*)pc.d, CUDA_R_32F, M, 2, CUBLAS_COMPUTE_32F,
                           CUBLAS_GEMM_DEFAULT));
  c.down();
  for (int z = 0; z < 2; ++z)
    for (int j = 0; j < M; ++j)
      for (int i = 0; i < M; ++i) {
        double s = 0;
        for (int l = 0; l < M; ++l)
          s += (double)a[z * M * M + i + l * M] * b[(1 - z) * M * M + l + j * M];
        NEAR_I(i, c[z * M * M + i + j * M], s, 1e-5);
      }
}

template <class T, class C>
static void test_lt(bool bias, bool row, double tol) {  // D = A^T B (+ bias)
  const int m = 24, n = 10, k = 32;
  cublasLtHandle_t lt;
  cublasLtMatmulDesc_t d;
  cublasLtMatrixLayout_t la, lb, lc;
  cublasLtMatmulPreference_t pref;
  BLAS(cublasLtCreate(&lt));
  BLAS(cublasLtMatmulDescCreate(&d, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const cublasOperation_t t = CUBLAS_OP_T;
  BLAS(cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_TRANSA, &t, sizeof t));
  BLAS(cublasLtMatrixLayoutCreate(&la, type<T>(), k, m, k));
  BLAS(cublasLtMatrixLayoutCreate(&lb, type<T>(), k, n, row ? n : k));
  BLAS(cublasLtMatrixLayoutCreate(&lc, type<C>(), m, n, m));
  if (row) {
    const cublasLtOrder_t o = CUBLASLT_ORDER_ROW;
    BLAS(cublasLtMatrixLayoutSetAttribute(lb, CUBLASLT_MATRIX_LAYOUT_ORDER, &o, sizeof o));
  }
  Array<T> A(random<T>(k * m, 3)), B(random<T>(k * n, 9));
  Array<C> D(random<C>(m * n, 4)), bv(random<C>(m, 5));
  if (bias) {
    const cublasLtEpilogue_t e = CUBLASLT_EPILOGUE_BIAS;
    BLAS(cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_EPILOGUE, &e, sizeof e));
    const void* p = bv.d;
    BLAS(cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p, sizeof p));
  }
  BLAS(cublasLtMatmulPreferenceCreate(&pref));
  size_t ws = 1 << 20;
  BLAS(cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &ws,
                                            sizeof ws));
  cublasLtMatmulHeuristicResult_t r[4];
  int got = 0;
  BLAS(cublasLtMatmulAlgoGetHeuristic(lt, d, la, lb, lc, lc, pref, 4, r, &got));
  EQUAL(got, 1);
  int split = 0, ids[2];
  size_t written = 0;
  BLAS(cublasLtMatmulAlgoConfigGetAttribute(&r[0].algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &split,
                                            sizeof split, &written));
  EQUAL(split, 1);
  EQUAL(written, sizeof split);
  BLAS(cublasLtMatmulAlgoGetIds(lt, CUBLAS_COMPUTE_32F, CUDA_R_32F, type<T>(), type<T>(), type<C>(),
                                type<C>(), 2, ids, &got));
  EQUAL(got, 1);
  cublasLtMatmulAlgo_t algo;
  BLAS(cublasLtMatmulAlgoInit(lt, CUBLAS_COMPUTE_32F, CUDA_R_32F, type<T>(), type<T>(), type<C>(),
                              type<C>(), ids[0], &algo));
  unsigned tile = 15;
  BLAS(cublasLtMatmulAlgoConfigSetAttribute(&algo, CUBLASLT_ALGO_CONFIG_TILE_ID, &tile,
                                            sizeof tile));
  tile = 0;
  BLAS(cublasLtMatmulAlgoConfigGetAttribute(&algo, CUBLASLT_ALGO_CONFIG_TILE_ID, &tile, sizeof tile,
                                            nullptr));
  EQUAL(tile, 15);
  BLAS(cublasLtMatmulAlgoCheck(lt, d, la, lb, lc, lc, &algo, &r[1]));
  EQUAL(r[1].state, CUBLAS_STATUS_SUCCESS);
  const float alpha = 0.5f, beta = 0;
  BLAS(cublasLtMatmul(lt, d, &alpha, A.d, la, B.d, lb, &beta, D.d, lc, D.d, lc, &r[0].algo, nullptr,
                      0, nullptr));
  D.down();
  for (int j = 0; j < n; ++j)
    for (int i = 0; i < m; ++i) {
      double s = 0;
      for (int l = 0; l < k; ++l) s += num(A[l + i * k]) * num(B[row ? l * n + j : l + j * k]);
      NEAR_I(i + j * m, num(D[i + j * m]), 0.5 * s + (bias ? num(bv[i]) : 0), tol);
    }
  const cublasLtEpilogue_t gelu = CUBLASLT_EPILOGUE_GELU;
  BLAS(cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_EPILOGUE, &gelu, sizeof gelu));
  CHECK(cublasLtMatmul(lt, d, &alpha, A.d, la, B.d, lb, &beta, D.d, lc, D.d, lc, nullptr, nullptr,
                       0, nullptr) == CUBLAS_STATUS_NOT_SUPPORTED);
  BLAS(cublasLtMatmulPreferenceDestroy(pref));
  BLAS(cublasLtMatrixLayoutDestroy(la));
  BLAS(cublasLtMatrixLayoutDestroy(lb));
  BLAS(cublasLtMatrixLayoutDestroy(lc));
  BLAS(cublasLtMatmulDescDestroy(d));
  BLAS(cublasLtDestroy(lt));
}

__global__ void bump(float* x) { x[threadIdx.x] += 1; }
static void test_capture() {  // a GEMM between two kernels in a graph
  cudaStream_t s;
  cudaGraph_t g;
  cudaGraphExec_t e;
  CUDA(cudaStreamCreate(&s));
  BLAS(cublasSetStream(h, s));
  Array<float> a(4, 1.0f), c(4);
  const float one = 1, zero = 0;
  CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
  bump<<<1, 4, 0, s>>>(a);
  BLAS(cublasSgemm(h, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, a.d, 2, a.d, 2, &zero, c.d, 2));
  bump<<<1, 4, 0, s>>>(c);
  CUDA(cudaStreamEndCapture(s, &g));
  CUDA(cudaGraphInstantiate(&e, g, 0));
  CUDA(cudaGraphLaunch(e, s));
  CUDA(cudaGraphLaunch(e, s));
  CUDA(cudaStreamSynchronize(s));
  for (int i = 0; i < 4; ++i) NEAR_I(i, c.down()[i], 19, 0);  // 2 * 3 * 3 + 1
  BLAS(cublasSetStream(h, nullptr));
  CUDA(cudaGraphExecDestroy(e));
  CUDA(cudaGraphDestroy(g));
  CUDA(cudaStreamDestroy(s));
}

static void test_speed() {
  const int m = 2048, n = 64, k = 2048;
  Array<__nv_bfloat16> A(random<__nv_bfloat16>((size_t)m * k, 1)),
      B(random<__nv_bfloat16>((size_t)k * n, 2)), C(random<__nv_bfloat16>((size_t)m * n, 3));
  const float one = 1, zero = 0;
  const auto t0 = std::chrono::steady_clock::now();
  BLAS(cublasGemmEx(h, CUBLAS_OP_T, CUBLAS_OP_N, m, n, k, &one, A.d, CUDA_R_16BF, k, B.d,
                    CUDA_R_16BF, k, &zero, C.d, CUDA_R_16BF, m, CUBLAS_COMPUTE_32F,
                    CUBLAS_GEMM_DEFAULT));
  CUDA(cudaDeviceSynchronize());
  printf("speed: bf16 GEMM 64x2048x2048 %.3f s\n",
         std::chrono::duration<double>(std::chrono::steady_clock::now() - t0).count());
}

int main() {
  BLAS(cublasCreate(&h));
  BLAS(cublasSetMathMode(h, CUBLAS_TF32_TENSOR_OP_MATH));
  void* ws;
  CUDA(cudaMalloc(&ws, 1 << 20));
  BLAS(cublasSetWorkspace(h, ws, 1 << 20));
  for (int ta = 0; ta < 2; ++ta)
    for (int tb = 0; tb < 2; ++tb) {
      test_gemm<float, float>(ta, tb, 17, 9, 33, 1.5f, 0.5f, 1e-5);
      test_gemm<__nv_bfloat16, __nv_bfloat16>(ta, tb, 64, 7, 40, 1, 0, 1e-2);
    }
  test_gemm<__nv_bfloat16, float>(true, false, 70, 13, 129, 1, 1, 1e-5);
  test_gemm<__half, __half>(true, false, 12, 20, 65, 1, 0, 2e-3);
  test_gemm<__half, float>(false, false, 12, 20, 65, 1, 0, 1e-5);
  test_gemm<signed char, int>(true, false, 16, 8, 64, 1, 0, 0);
  test_gemm<float, float>(false, false, 8, 5, 0, 1, 0.5f, 1e-6);
  test_gemm<__nv_bfloat16, float>(false, true, 6, 7, 8, 2, 0, 1e-5, 3);
  test_batched_pointers();
  test_lt<__nv_bfloat16, float>(false, false, 1e-5);
  test_lt<__nv_bfloat16, __nv_bfloat16>(true, false, 1e-2);
  test_lt<__half, float>(true, true, 1e-5);
  test_lt<float, float>(false, true, 1e-5);
  test_capture();
  test_speed();
  const float one = 1;
  float* p = (float*)ws;
  CHECK(cublasSgemm(h, CUBLAS_OP_N, CUBLAS_OP_N, 8, 8, 8, &one, p, 4, p, 8, &one, p, 8) ==
        CUBLAS_STATUS_INVALID_VALUE);
  BLAS(cublasDestroy(h));
  return finish("blas");
}
