#include "tests/kernels/backends.h"
#include "tests/kernels/retention_cases.h"

namespace retnet {

INSTANTIATE_TYPED_TEST_SUITE_P(Backends, Retention, Backends, BackendNames);

using BaseTypes = testing::Types<ReferenceBackendOfBases<ElementType::kBFloat16>,
                                 ReferenceBackendOfBases<ElementType::kFloat16>>;
INSTANTIATE_TYPED_TEST_SUITE_P(BaseTypes, Retention, BaseTypes, BackendNames);

}  // namespace retnet
