// Stand-in libcublas: handles and the GEMM family.
#include <cstdio>
#include <vector>

#include "cublas/common/gemm.h"
#include "cudart/state.h"
#include "runtime/memory.h"

using namespace cudasim::blas;

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasPointerMode_t pointer_mode = CUBLAS_POINTER_MODE_HOST;
  cublasMath_t math_mode = CUBLAS_DEFAULT_MATH;
  cublasAtomicsMode_t atomics = CUBLAS_ATOMICS_NOT_ALLOWED;
  int sm_count = 0;
};

namespace {

cudaDataType_t scale_type(cublasComputeType_t c) {
  switch (c) {
    case CUBLAS_COMPUTE_32I:
    case CUBLAS_COMPUTE_32I_PEDANTIC:
      return CUDA_R_32I;
    case CUBLAS_COMPUTE_64F:
    case CUBLAS_COMPUTE_64F_PEDANTIC:
      return CUDA_R_64F;
    default:
      return CUDA_R_32F;
  }
}
bool integer(cublasComputeType_t c) { return scale_type(c) == CUDA_R_32I; }

struct Operand {
  const void* p;
  cudaDataType_t type;
  int64_t ld, stride;
  cublasOperation_t op = CUBLAS_OP_N;
};

// One call of the GEMM family: `batch` products whose matrices are a stride apart, or listed in
// device arrays.
cublasStatus_t gemm(cublasHandle_t h, const char* name, int64_t m, int64_t n, int64_t k,
                    const void* alpha, const void* beta, Operand a, Operand b, Operand c,
                    int64_t batch, cublasComputeType_t compute, bool pointer_arrays) {
  if (!h) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (m < 0 || n < 0 || k < 0 || batch < 0 || !alpha || !beta) return CUBLAS_STATUS_INVALID_VALUE;
  const int64_t rows_a = a.op == CUBLAS_OP_N ? m : k, rows_b = b.op == CUBLAS_OP_N ? k : n;
  if (a.ld < std::max<int64_t>(1, rows_a) || b.ld < std::max<int64_t>(1, rows_b) ||
      c.ld < std::max<int64_t>(1, m)) {
    fprintf(stderr,
            "cudasim: note: %s: leading dimension too small (lda %ld, ldb %ld, ldc %ld for m %ld n "
            "%ld k %ld)\n",
            name, (long)a.ld, (long)b.ld, (long)c.ld, (long)m, (long)n, (long)k);
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (!supported(a.type, b.type, c.type, c.type, compute)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (a.op > CUBLAS_OP_C || b.op > CUBLAS_OP_C) return CUBLAS_STATUS_INVALID_VALUE;
  Gemm g;
  g.m = m, g.n = n, g.k = k;
  g.name = name;
  g.integer = integer(compute);
  g.a = {a.p, a.type, a.ld, a.op != CUBLAS_OP_N, false};
  g.b = {b.p, b.type, b.ld, b.op != CUBLAS_OP_N, false};
  g.c = {c.p, c.type, c.ld, false, false};
  g.d = g.c;
  const cudaDataType_t scale = scale_type(compute);
  const bool device_scalars = h->pointer_mode == CUBLAS_POINTER_MODE_DEVICE;
  if (!device_scalars) g.alpha = read_scalar(alpha, scale), g.beta = read_scalar(beta, scale);
  const cudaError_t e = cudasim_submit(h->stream, [=] {
    Gemm x = g;
    if (device_scalars) x.alpha = read_scalar(alpha, scale), x.beta = read_scalar(beta, scale);
    for (int64_t i = 0; i < batch; ++i) {
      auto at = [&](const Operand& o) -> const void* {
        if (!pointer_arrays) return (const uint8_t*)o.p + i * o.stride * (int64_t)type_size(o.type);
        return *(const void**)cudasim_storage((const void* const*)o.p + i, sizeof(void*),
                                              "batched GEMM pointer array");
      };
      x.a.data = at(a), x.b.data = at(b);
      x.c.data = x.d.data = at(c);
      run(x);
    }
  });
  return e == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* h) {
  if (!h) return CUBLAS_STATUS_INVALID_VALUE;
  *h = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy_v2(cublasHandle_t h) {
  if (!h) return CUBLAS_STATUS_NOT_INITIALIZED;
  delete h;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetVersion_v2(cublasHandle_t, int* v) {
  *v = CUBLAS_VERSION;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetProperty(libraryPropertyType type, int* v) {
  *v = type == MAJOR_VERSION   ? CUBLAS_VER_MAJOR
       : type == MINOR_VERSION ? CUBLAS_VER_MINOR
                               : CUBLAS_VER_PATCH;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t h, cudaStream_t s) {
  h->stream = s;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetStream_v2(cublasHandle_t h, cudaStream_t* s) {
  *s = h->stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t h, cublasPointerMode_t m) {
  h->pointer_mode = m;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetPointerMode_v2(cublasHandle_t h, cublasPointerMode_t* m) {
  *m = h->pointer_mode;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t h, cublasMath_t m) {
  h->math_mode = m;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetMathMode(cublasHandle_t h, cublasMath_t* m) {
  *m = h->math_mode;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetAtomicsMode(cublasHandle_t h, cublasAtomicsMode_t m) {
  h->atomics = m;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetAtomicsMode(cublasHandle_t h, cublasAtomicsMode_t* m) {
  *m = h->atomics;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetSmCountTarget(cublasHandle_t h, int n) {
  h->sm_count = n;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetSmCountTarget(cublasHandle_t h, int* n) {
  *n = h->sm_count;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t h, void* p, size_t n) {
  if (!h) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (p && n && !cudasim::is_device_address(p)) return CUBLAS_STATUS_INVALID_VALUE;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m,
                            int n, int k, const void* alpha, const void* A, cudaDataType at,
                            int lda, const void* B, cudaDataType bt, int ldb, const void* beta,
                            void* C, cudaDataType ct, int ldc, cublasComputeType_t compute,
                            cublasGemmAlgo_t) {
  return gemm(h, "cublasGemmEx", m, n, k, alpha, beta, {A, at, lda, 0, ta}, {B, bt, ldb, 0, tb},
              {C, ct, ldc, 0}, 1, compute, false);
}
cublasStatus_t cublasGemmEx_64(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb,
                               int64_t m, int64_t n, int64_t k, const void* alpha, const void* A,
                               cudaDataType at, int64_t lda, const void* B, cudaDataType bt,
                               int64_t ldb, const void* beta, void* C, cudaDataType ct, int64_t ldc,
                               cublasComputeType_t compute, cublasGemmAlgo_t) {
  return gemm(h, "cublasGemmEx_64", m, n, k, alpha, beta, {A, at, lda, 0, ta}, {B, bt, ldb, 0, tb},
              {C, ct, ldc, 0}, 1, compute, false);
}
cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t h, cublasOperation_t ta,
                                          cublasOperation_t tb, int m, int n, int k,
                                          const void* alpha, const void* A, cudaDataType at,
                                          int lda, long long sa, const void* B, cudaDataType bt,
                                          int ldb, long long sb, const void* beta, void* C,
                                          cudaDataType ct, int ldc, long long sc, int batch,
                                          cublasComputeType_t compute, cublasGemmAlgo_t) {
  return gemm(h, "cublasGemmStridedBatchedEx", m, n, k, alpha, beta, {A, at, lda, sa, ta},
              {B, bt, ldb, sb, tb}, {C, ct, ldc, sc}, batch, compute, false);
}
cublasStatus_t cublasGemmBatchedEx(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb,
                                   int m, int n, int k, const void* alpha, const void* const A[],
                                   cudaDataType at, int lda, const void* const B[], cudaDataType bt,
                                   int ldb, const void* beta, void* const C[], cudaDataType ct,
                                   int ldc, int batch, cublasComputeType_t compute,
                                   cublasGemmAlgo_t) {
  return gemm(h, "cublasGemmBatchedEx", m, n, k, alpha, beta, {A, at, lda, 0, ta},
              {B, bt, ldb, 0, tb}, {C, ct, ldc, 0}, batch, compute, true);
}
cublasStatus_t cublasSgemm_v2(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m,
                              int n, int k, const float* alpha, const float* A, int lda,
                              const float* B, int ldb, const float* beta, float* C, int ldc) {
  return gemm(h, "cublasSgemm", m, n, k, alpha, beta, {A, CUDA_R_32F, lda, 0, ta},
              {B, CUDA_R_32F, ldb, 0, tb}, {C, CUDA_R_32F, ldc, 0}, 1, CUBLAS_COMPUTE_32F, false);
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t h, cublasOperation_t ta,
                                         cublasOperation_t tb, int m, int n, int k,
                                         const float* alpha, const float* A, int lda, long long sa,
                                         const float* B, int ldb, long long sb, const float* beta,
                                         float* C, int ldc, long long sc, int batch) {
  return gemm(h, "cublasSgemmStridedBatched", m, n, k, alpha, beta, {A, CUDA_R_32F, lda, sa, ta},
              {B, CUDA_R_32F, ldb, sb, tb}, {C, CUDA_R_32F, ldc, sc}, batch, CUBLAS_COMPUTE_32F,
              false);
}
cublasStatus_t cublasDgemm_v2(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m,
                              int n, int k, const double* alpha, const double* A, int lda,
                              const double* B, int ldb, const double* beta, double* C, int ldc) {
  return gemm(h, "cublasDgemm", m, n, k, alpha, beta, {A, CUDA_R_64F, lda, 0, ta},
              {B, CUDA_R_64F, ldb, 0, tb}, {C, CUDA_R_64F, ldc, 0}, 1, CUBLAS_COMPUTE_64F, false);
}

const char* cublasGetStatusName(cublasStatus_t s) {
  switch (s) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    default:
      return "CUBLAS_STATUS_UNKNOWN";
  }
}
const char* cublasGetStatusString(cublasStatus_t s) { return cublasGetStatusName(s); }

}  // extern "C"
