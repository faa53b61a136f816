// Stand-in libcublasLt: descriptors and cublasLtMatmul.
#include <cstdio>
#include <cstring>

#include "cublas/common/gemm.h"
#include "cudart/state.h"

using namespace cudasim::blas;

namespace {

constexpr int32_t kDefaultBatch = 1;

struct Layout {
  cudaDataType_t type;
  cublasLtOrder_t order;
  uint64_t rows, cols;
  int64_t ld;
  int32_t batch;
  int64_t stride;
};
struct MatmulDesc {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasLtPointerMode_t pointer_mode;
  cublasOperation_t op_a, op_b, op_c;
  cublasLtEpilogue_t epilogue;
  const void* bias;
  int32_t bias_type;  // -1: the type of D
};
struct Preference {
  uint64_t workspace;
};
// The one algorithm there is; the choices a program makes in it are kept and given back, and change nothing.
struct Algorithm {
  int32_t split_k;
  uint32_t reduction, swizzling, custom, tile, stages;
  uint16_t inner_shape, cluster_shape;
  int32_t id;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(Layout) <= sizeof(cublasLtMatrixLayoutOpaque_t));
static_assert(sizeof(MatmulDesc) <= sizeof(cublasLtMatmulDescOpaque_t));
static_assert(sizeof(Preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t));

Layout* layout(cublasLtMatrixLayout_t l) { return (Layout*)l; }
MatmulDesc* desc(cublasLtMatmulDesc_t d) { return (MatmulDesc*)d; }

void init(cublasLtMatmulAlgo_t* a) {
  memset(a, 0, sizeof *a);
  ((Algorithm*)a)->split_k = 1;
}

// A table of attributes stored as plain fields.
template <class T>
cublasStatus_t put(T* field, const void* buffer, size_t size) {
  if (!buffer || size < sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  memcpy(field, buffer, sizeof(T));
  return CUBLAS_STATUS_SUCCESS;
}
template <class T>
cublasStatus_t get(const T* field, void* buffer, size_t size, size_t* written) {
  if (written) *written = sizeof(T);
  if (size == 0) return CUBLAS_STATUS_SUCCESS;
  if (!buffer || size < sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  memcpy(buffer, field, sizeof(T));
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t unsupported(const char* what, int value) {
  fprintf(stderr, "cudasim: note: cublasLt %s %d is not supported\n", what, value);
  return CUBLAS_STATUS_NOT_SUPPORTED;
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

// Matrix layouts.
cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t l, size_t size,
                                                 cudaDataType type, uint64_t rows, uint64_t cols,
                                                 int64_t ld) {
  if (!l || size < sizeof(Layout)) return CUBLAS_STATUS_INVALID_VALUE;
  *layout(l) = Layout{type, CUBLASLT_ORDER_COL, rows, cols, ld, kDefaultBatch, 0};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* l, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld) {
  *l = (cublasLtMatrixLayout_t) new cublasLtMatrixLayoutOpaque_t{};
  return cublasLtMatrixLayoutInit_internal(*l, sizeof **l, type, rows, cols, ld);
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) {
  delete (cublasLtMatrixLayoutOpaque_t*)l;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t h,
                                                cublasLtMatrixLayoutAttribute_t a, const void* p,
                                                size_t n) {
  Layout* l = layout(h);
  switch (a) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
      return put(&l->type, p, n);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return put(&l->order, p, n);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return put(&l->rows, p, n);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return put(&l->cols, p, n);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return put(&l->ld, p, n);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return put(&l->batch, p, n);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return put(&l->stride, p, n);
    default:
      return unsupported("matrix layout attribute", a);
  }
}
cublasStatus_t cublasLtMatrixLayoutGetAttribute(cublasLtMatrixLayout_t h,
                                                cublasLtMatrixLayoutAttribute_t a, void* p,
                                                size_t n, size_t* w) {
  Layout* l = layout(h);
  switch (a) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
      return get(&l->type, p, n, w);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return get(&l->order, p, n, w);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return get(&l->rows, p, n, w);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return get(&l->cols, p, n, w);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return get(&l->ld, p, n, w);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return get(&l->batch, p, n, w);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return get(&l->stride, p, n, w);
    default:
      return unsupported("matrix layout attribute", a);
  }
}

// Matmul descriptors.
cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t d, size_t size,
                                               cublasComputeType_t compute, cudaDataType_t scale) {
  if (!d || size < sizeof(MatmulDesc)) return CUBLAS_STATUS_INVALID_VALUE;
  *desc(d) = MatmulDesc{compute,     scale,       CUBLASLT_POINTER_MODE_HOST, CUBLAS_OP_N,
                        CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT,  nullptr,
                        -1};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  *d = (cublasLtMatmulDesc_t) new cublasLtMatmulDescOpaque_t{};
  return cublasLtMatmulDescInit_internal(*d, sizeof **d, compute, scale);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) {
  delete (cublasLtMatmulDescOpaque_t*)d;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t h,
                                              cublasLtMatmulDescAttributes_t a, const void* p,
                                              size_t n) {
  MatmulDesc* d = desc(h);
  switch (a) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
      return put(&d->compute, p, n);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
      return put(&d->scale, p, n);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return put(&d->pointer_mode, p, n);
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return put(&d->op_a, p, n);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return put(&d->op_b, p, n);
    case CUBLASLT_MATMUL_DESC_TRANSC:
      return put(&d->op_c, p, n);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return put(&d->epilogue, p, n);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return put(&d->bias, p, n);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return put(&d->bias_type, p, n);
    case CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET:
    case CUBLASLT_MATMUL_DESC_FAST_ACCUM:
      return CUBLAS_STATUS_SUCCESS;
    default:
      return unsupported("matmul attribute", a);
  }
}
cublasStatus_t cublasLtMatmulDescGetAttribute(cublasLtMatmulDesc_t h,
                                              cublasLtMatmulDescAttributes_t a, void* p, size_t n,
                                              size_t* w) {
  MatmulDesc* d = desc(h);
  switch (a) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
      return get(&d->compute, p, n, w);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
      return get(&d->scale, p, n, w);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return get(&d->pointer_mode, p, n, w);
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return get(&d->op_a, p, n, w);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return get(&d->op_b, p, n, w);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return get(&d->epilogue, p, n, w);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return get(&d->bias, p, n, w);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return get(&d->bias_type, p, n, w);
    default:
      return unsupported("matmul attribute", a);
  }
}

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
