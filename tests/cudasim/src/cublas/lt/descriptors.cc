// Stand-in libcublasLt: matrix layouts and matmul descriptors.
#include "cublas/lt/descriptors.h"

#include <cstdio>

using namespace cudasim::blas;

namespace cudasim::blas {

cublasStatus_t unsupported(const char* what, int value) {
  fprintf(stderr, "cudasim: note: cublasLt %s %d is not supported\n", what, value);
  return CUBLAS_STATUS_NOT_SUPPORTED;
}

}  // namespace cudasim::blas

extern "C" {

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

}  // extern "C"
