#include "tests/kernels/backends.h"
#include "tests/kernels/retention_cases.h"

namespace retnet {

INSTANTIATE_TYPED_TEST_SUITE_P(Backends, Retention, Backends, BackendNames);

}  // namespace retnet
