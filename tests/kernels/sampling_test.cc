#include "tests/kernels/backends.h"
#include "tests/kernels/sampling_cases.h"

namespace retnet {

INSTANTIATE_TYPED_TEST_SUITE_P(Backends, SampleResults, Backends, BackendNames);

}  // namespace retnet
