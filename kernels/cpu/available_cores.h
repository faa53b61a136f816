// The number of cores that Linux lets this process use.
#ifndef RETNET_KERNELS_CPU_AVAILABLE_CORES_H_
#define RETNET_KERNELS_CPU_AVAILABLE_CORES_H_

#include <cstdint>
#include <string>

namespace retnet::cpu {

// The number of cores in the affinity mask of the calling thread, or fewer if the cpu quotas of the
// process's control groups allow fewer. At least 1. `root` is prepended to the paths of Linux's
// files, for tests.
int32_t AvailableCores(const std::string& root = "");

// The minimum of `cores` and the quotas of the process's control groups and all their ancestors.
// Quotas are rounded up to whole cores. At least 1 if `cores` is. A group without a quota, or
// without files, sets no limit.
int32_t CoresWithinQuotas(int32_t cores, const std::string& root = "");

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_AVAILABLE_CORES_H_
