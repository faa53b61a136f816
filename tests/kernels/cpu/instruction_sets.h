// Tests that run on every instruction set of the machine.
#ifndef RETNET_TESTS_KERNELS_CPU_INSTRUCTION_SETS_H_
#define RETNET_TESTS_KERNELS_CPU_INSTRUCTION_SETS_H_

#include <algorithm>
#include <string>

#include "gtest/gtest.h"
#include "kernels/cpu/instruction_set.h"

namespace retnet::cpu {

// A test's name may hold no '-'.
inline std::string TestNameOf(const testing::TestParamInfo<InstructionSet>& info) {
  std::string name(Name(info.param));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

inline auto EveryInstructionSet() { return testing::ValuesIn(SupportedInstructionSets()); }

}  // namespace retnet::cpu

#endif  // RETNET_TESTS_KERNELS_CPU_INSTRUCTION_SETS_H_
