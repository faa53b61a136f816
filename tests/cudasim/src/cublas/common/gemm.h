// Matrix multiplication on simulated device memory, shared by the stand-in cuBLAS and cuBLASLt.
#ifndef RETNET_TESTS_CUDASIM_SRC_CUBLAS_COMMON_GEMM_H_
#define RETNET_TESTS_CUDASIM_SRC_CUBLAS_COMMON_GEMM_H_

#include <cublasLt.h>
#include <cublas_v2.h>

#include <cstdint>

namespace cudasim::blas {

struct Matrix {
  const void* data = nullptr;
  cudaDataType_t type = CUDA_R_32F;
  int64_t ld = 0;
  bool transposed = false;
  bool row_major = false;  // cuBLASLt CUBLASLT_ORDER_ROW
};

// D = alpha * op(A) op(B) + beta * C (+ bias per row of D)
struct Gemm {
  int64_t m = 0, n = 0, k = 0;
  Matrix a, b, c, d;
  bool integer = false;  // int8 inputs, int32 accumulation
  double alpha = 1, beta = 0;
  const void* bias = nullptr;
  cudaDataType_t bias_type = CUDA_R_32F;
  bool relu = false;
  const char* name = "gemm";
};

// Pointers are device (or device-accessible host) addresses; faults on invalid ranges.
void run(const Gemm&);

bool supported(cudaDataType_t a, cudaDataType_t b, cudaDataType_t c, cudaDataType_t d,
               cublasComputeType_t compute);
bool supported_compute(cublasComputeType_t);
double read_scalar(const void* p, cudaDataType_t type);  // host or device pointer
size_t type_size(cudaDataType_t);

}  // namespace cudasim::blas

#endif  // RETNET_TESTS_CUDASIM_SRC_CUBLAS_COMMON_GEMM_H_
