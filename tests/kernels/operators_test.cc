#include "tests/kernels/backends.h"
#include "tests/kernels/operator_cases.h"

namespace retnet {

INSTANTIATE_TYPED_TEST_SUITE_P(Backends, Operators, Backends, BackendNames);

}  // namespace retnet
