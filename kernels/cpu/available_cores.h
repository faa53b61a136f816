// How many of the machine's cores Linux lets this process use.
#ifndef RETNET_KERNELS_CPU_AVAILABLE_CORES_H_
#define RETNET_KERNELS_CPU_AVAILABLE_CORES_H_

#include <cstdint>
#include <string>

namespace retnet::cpu {

// The cores of the calling thread's affinity mask, as far as the cpu quotas of the process's control
// groups allow. At least 1. The files of Linux are read below the folder `root`.
int32_t AvailableCores(const std::string& root = "");

// The least of `cores` and the quotas of the process's control groups and of all their ancestors,
// each in whole cores, rounded up. At least 1 where `cores` is. A group without a quota, and one
// whose files are not there, does not bound it.
int32_t CoresWithinQuotas(int32_t cores, const std::string& root = "");

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_AVAILABLE_CORES_H_
