// Everything a translated module includes.
#ifndef RETNET_TESTS_CUDASIM_SRC_PTX_MODULE_H_
#define RETNET_TESTS_CUDASIM_SRC_PTX_MODULE_H_

#include "ptx/matrix.h"

using namespace ptx;
using cudasim::kAtomic;
using cudasim::kRead;
using cudasim::kVolatile;
using cudasim::kWrite;

#endif  // RETNET_TESTS_CUDASIM_SRC_PTX_MODULE_H_
