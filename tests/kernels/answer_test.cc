#include "tests/kernels/answer_cases.h"
#include "tests/kernels/backends.h"

namespace retnet {

INSTANTIATE_TYPED_TEST_SUITE_P(Backends, Answers, Backends, BackendNames);

}  // namespace retnet
