#include "tests/kernels/backends.h"
#include "tests/kernels/cuda/cuda_backends.h"
#include "tests/kernels/sampling_cases.h"

namespace retnet::cuda {

using SamplingBackends = testing::Types<CudaBackend<CudaRows::kSampled>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Cuda, SampleResults, SamplingBackends, BackendNames);

}  // namespace retnet::cuda
