// What a program's opaque cublasLt descriptors hold, and how their attributes are set and read.
#ifndef RETNET_TESTS_CUDASIM_SRC_CUBLAS_LT_DESCRIPTORS_H_
#define RETNET_TESTS_CUDASIM_SRC_CUBLAS_LT_DESCRIPTORS_H_

#include <cublasLt.h>

#include <cstdint>
#include <cstring>

namespace cudasim::blas {

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

static_assert(sizeof(Layout) <= sizeof(cublasLtMatrixLayoutOpaque_t));
static_assert(sizeof(MatmulDesc) <= sizeof(cublasLtMatmulDescOpaque_t));

inline Layout* layout(cublasLtMatrixLayout_t l) { return (Layout*)l; }
inline MatmulDesc* desc(cublasLtMatmulDesc_t d) { return (MatmulDesc*)d; }

// An attribute is a plain field.
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

// Says on standard error what is not supported.
cublasStatus_t unsupported(const char* what, int value);

}  // namespace cudasim::blas

#endif  // RETNET_TESTS_CUDASIM_SRC_CUBLAS_LT_DESCRIPTORS_H_
