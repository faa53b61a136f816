#include "tests/kernels/backends.h"
#include "tests/kernels/cuda/cuda_backends.h"
#include "tests/kernels/operator_cases.h"

namespace retnet::cuda {

using OperatorBackends =
    testing::Types<CudaBackend<CudaRows::kSampled>, CudaBackend<CudaRows::kPrompt>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Cuda, Operators, OperatorBackends, BackendNames);

}  // namespace retnet::cuda
