// Stand-in libcublasLt: its one algorithm, and cublasLtMatmul.
#include <cstdio>
#include <cstring>

#include "cublas/common/gemm.h"
#include "cublas/lt/descriptors.h"
#include "cudart/state.h"

using namespace cudasim::blas;

namespace {

struct Preference {
  uint64_t workspace;
};
// The one algorithm there is; the choices a program makes in it are kept and given back, and change
// nothing.
struct Algorithm {
  int32_t split_k;
  uint32_t reduction, swizzling, custom, tile, stages;
  uint16_t inner_shape, cluster_shape;
  int32_t id;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(Preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t));

void init(cublasLtMatmulAlgo_t* a) {
  memset(a, 0, sizeof *a);
  ((Algorithm*)a)->split_k = 1;
}

cublasStatus_t check(const MatmulDesc& d, const Layout& a, const Layout& b, const Layout& c,
                     const Layout& o) {
  if (d.epilogue != CUBLASLT_EPILOGUE_DEFAULT && d.epilogue != CUBLASLT_EPILOGUE_BIAS &&
      d.epilogue != CUBLASLT_EPILOGUE_RELU && d.epilogue != CUBLASLT_EPILOGUE_RELU_BIAS)
    return unsupported("epilogue", d.epilogue);
  for (const Layout* l : {&a, &b, &c, &o})
    if (l->order != CUBLASLT_ORDER_COL && l->order != CUBLASLT_ORDER_ROW)
      return unsupported("matrix order", l->order);
  if (!supported(a.type, b.type, c.type, o.type, d.compute))
    return unsupported("combination of types, compute type", d.compute);
  const uint64_t m = d.op_a == CUBLAS_OP_N ? a.rows : a.cols,
                 k = d.op_a == CUBLAS_OP_N ? a.cols : a.rows;
  const uint64_t kb = d.op_b == CUBLAS_OP_N ? b.rows : b.cols,
                 n = d.op_b == CUBLAS_OP_N ? b.cols : b.rows;
  if (k != kb || o.rows != m || o.cols != n || c.rows != m || c.cols != n) {
    fprintf(stderr,
            "cudasim: note: cublasLtMatmul: the layouts do not match: op(A) %lux%lu, op(B) "
            "%lux%lu, C %lux%lu, D %lux%lu\n",
            (unsigned long)m, (unsigned long)k, (unsigned long)kb, (unsigned long)n,
            (unsigned long)c.rows, (unsigned long)c.cols, (unsigned long)o.rows,
            (unsigned long)o.cols);
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  for (const Layout* l : {&a, &b, &c, &o})
    if (l->ld < (int64_t)(l->order == CUBLASLT_ORDER_COL ? l->rows : l->cols))
      return CUBLAS_STATUS_INVALID_VALUE;
  return CUBLAS_STATUS_SUCCESS;
}

int the_context;

}  // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* h) {
  *h = (cublasLtHandle_t)&the_context;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }
size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
size_t cublasLtGetCudartVersion() { return CUDART_VERSION; }
const char* cublasLtGetStatusName(cublasStatus_t s) {
  return s == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS" : "CUBLAS_STATUS_ERROR";
}
const char* cublasLtGetStatusString(cublasStatus_t s) { return cublasLtGetStatusName(s); }

// Preferences and heuristics.
cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t p, size_t) {
  ((Preference*)p)->workspace = 0;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) {
  *p = (cublasLtMatmulPreference_t) new cublasLtMatmulPreferenceOpaque_t{};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  delete (cublasLtMatmulPreferenceOpaque_t*)p;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t h,
                                                    cublasLtMatmulPreferenceAttributes_t a,
                                                    const void* p, size_t n) {
  if (a == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) return put(&((Preference*)h)->workspace, p, n);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t o,
                                              cublasLtMatmulPreference_t, int requested,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* returned) {
  if (requested < 1 || !returned) return CUBLAS_STATUS_INVALID_VALUE;
  *returned = 0;
  const cublasStatus_t s = check(*desc(d), *layout(a), *layout(b), *layout(c), *layout(o));
  if (s != CUBLAS_STATUS_SUCCESS) return s;
  memset(&results[0], 0, sizeof results[0]);
  init(&results[0].algo);
  results[0].state = CUBLAS_STATUS_SUCCESS;
  results[0].wavesCount = 1;
  *returned = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetIds(cublasLtHandle_t, cublasComputeType_t, cudaDataType_t,
                                        cudaDataType_t, cudaDataType_t, cudaDataType_t,
                                        cudaDataType_t, int requested, int ids[], int* returned) {
  if (requested < 1 || !ids || !returned) return CUBLAS_STATUS_INVALID_VALUE;
  ids[0] = 0;
  *returned = 1;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoInit(cublasLtHandle_t, cublasComputeType_t, cudaDataType_t,
                                      cudaDataType_t, cudaDataType_t, cudaDataType_t,
                                      cudaDataType_t, int id, cublasLtMatmulAlgo_t* algo) {
  if (id != 0 || !algo) return CUBLAS_STATUS_INVALID_VALUE;
  init(algo);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t d,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t o,
                                       const cublasLtMatmulAlgo_t* algo,
                                       cublasLtMatmulHeuristicResult_t* result) {
  if (!algo || !result) return CUBLAS_STATUS_INVALID_VALUE;
  const cublasStatus_t s = check(*desc(d), *layout(a), *layout(b), *layout(c), *layout(o));
  const cublasLtMatmulAlgo_t kept = *algo;  // may lie inside result
  memset(result, 0, sizeof *result);
  result->algo = kept;
  result->state = s;
  result->wavesCount = 1;
  return s;
}
cublasStatus_t cublasLtMatmulAlgoConfigSetAttribute(cublasLtMatmulAlgo_t* h,
                                                    cublasLtMatmulAlgoConfigAttributes_t a,
                                                    const void* p, size_t n) {
  Algorithm* x = (Algorithm*)h;
  switch (a) {
    case CUBLASLT_ALGO_CONFIG_TILE_ID:
      return put(&x->tile, p, n);
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM:
      return put(&x->split_k, p, n);
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME:
      return put(&x->reduction, p, n);
    case CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING:
      return put(&x->swizzling, p, n);
    case CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION:
      return put(&x->custom, p, n);
    case CUBLASLT_ALGO_CONFIG_STAGES_ID:
      return put(&x->stages, p, n);
    case CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID:
      return put(&x->inner_shape, p, n);
    case CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID:
      return put(&x->cluster_shape, p, n);
    default:
      return unsupported("algorithm attribute", a);
  }
}
cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* h,
                                                    cublasLtMatmulAlgoConfigAttributes_t a, void* p,
                                                    size_t n, size_t* w) {
  const Algorithm* x = (const Algorithm*)h;
  switch (a) {
    case CUBLASLT_ALGO_CONFIG_ID:
      return get(&x->id, p, n, w);
    case CUBLASLT_ALGO_CONFIG_TILE_ID:
      return get(&x->tile, p, n, w);
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM:
      return get(&x->split_k, p, n, w);
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME:
      return get(&x->reduction, p, n, w);
    case CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING:
      return get(&x->swizzling, p, n, w);
    case CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION:
      return get(&x->custom, p, n, w);
    case CUBLASLT_ALGO_CONFIG_STAGES_ID:
      return get(&x->stages, p, n, w);
    case CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID:
      return get(&x->inner_shape, p, n, w);
    case CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID:
      return get(&x->cluster_shape, p, n, w);
    default:
      return unsupported("algorithm attribute", a);
  }
}

// Matmul.
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t dh, const void* alpha,
                              const void* A, cublasLtMatrixLayout_t ah, const void* B,
                              cublasLtMatrixLayout_t bh, const void* beta, const void* C,
                              cublasLtMatrixLayout_t ch, void* D, cublasLtMatrixLayout_t oh,
                              const cublasLtMatmulAlgo_t*, void*, size_t, cudaStream_t stream) {
  if (!dh || !ah || !bh || !oh || !alpha || !beta) return CUBLAS_STATUS_INVALID_VALUE;
  const MatmulDesc d = *desc(dh);
  const Layout a = *layout(ah), b = *layout(bh), o = *layout(oh), c = ch ? *layout(ch) : o;
  if (cublasStatus_t s = check(d, a, b, c, o)) return s;
  if (d.pointer_mode != CUBLASLT_POINTER_MODE_HOST &&
      d.pointer_mode != CUBLASLT_POINTER_MODE_DEVICE)
    return unsupported("pointer mode", d.pointer_mode);
  Gemm g;
  g.name = "cublasLtMatmul";
  g.m = (int64_t)o.rows;
  g.n = (int64_t)o.cols;
  g.k = (int64_t)(d.op_a == CUBLAS_OP_N ? a.cols : a.rows);
  g.a = {A, a.type, a.ld, d.op_a != CUBLAS_OP_N, a.order == CUBLASLT_ORDER_ROW};
  g.b = {B, b.type, b.ld, d.op_b != CUBLAS_OP_N, b.order == CUBLASLT_ORDER_ROW};
  g.c = {C, c.type, c.ld, false, c.order == CUBLASLT_ORDER_ROW};
  g.d = {D, o.type, o.ld, false, o.order == CUBLASLT_ORDER_ROW};
  g.integer = d.compute == CUBLAS_COMPUTE_32I || d.compute == CUBLAS_COMPUTE_32I_PEDANTIC;
  const bool with_bias =
      d.epilogue == CUBLASLT_EPILOGUE_BIAS || d.epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
  if (with_bias) {
    if (!d.bias) return CUBLAS_STATUS_INVALID_VALUE;
    g.bias = d.bias;
    g.bias_type = d.bias_type < 0 ? o.type : (cudaDataType_t)d.bias_type;
  }
  g.relu = d.epilogue == CUBLASLT_EPILOGUE_RELU || d.epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
  const bool device_scalars = d.pointer_mode == CUBLASLT_POINTER_MODE_DEVICE;
  if (!device_scalars) g.alpha = read_scalar(alpha, d.scale), g.beta = read_scalar(beta, d.scale);
  const cudaError_t e = cudasim_submit(stream, [=] {
    Gemm x = g;
    if (device_scalars) x.alpha = read_scalar(alpha, d.scale), x.beta = read_scalar(beta, d.scale);
    for (int32_t i = 0; i < o.batch; ++i) {
      auto at = [i](const void* p, const Layout& l) {
        return (const uint8_t*)p + (l.batch > 1 ? i * l.stride * (int64_t)type_size(l.type) : 0);
      };
      x.a.data = at(A, a), x.b.data = at(B, b), x.d.data = at(D, o);
      x.c.data = C ? at(C, c) : x.d.data;
      run(x);
    }
  });
  return e == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
