#include "tests/kernels/answer_cases.h"
#include "tests/kernels/backends.h"
#include "tests/kernels/cuda/cuda_backends.h"

namespace retnet {

using AnswerBackends = testing::Types<CudaBackend<CudaRows::kSampled>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Cuda, Answers, AnswerBackends, BackendNames);

}  // namespace retnet
