// The instruction sets that the CPU backend is compiled for, and which of them this machine
// supports.
#ifndef RETNET_KERNELS_CPU_INSTRUCTION_SET_H_
#define RETNET_KERNELS_CPU_INSTRUCTION_SET_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace retnet::cpu {

// In ascending order of speed. Results of different sets differ by rounding. Within a set, the bits
// of a row do not depend on the other rows.
enum class InstructionSet {
  kScalar,      // plain C++, on every processor
  kAvx2,        // with FMA and F16C
  kAvx512,      // F, BW, DQ, VL
  kAvx512Bf16,  // kAvx512 and, for bf16 weights, VDPBF16PS with activations rounded to bf16
};

// "scalar", "avx2", "avx512", "avx512-bf16".
absl::string_view Name(InstructionSet set);

// INVALID_ARGUMENT for an unknown name; UNAVAILABLE for a set that this machine does not support.
absl::StatusOr<InstructionSet> ParseInstructionSet(absl::string_view name);

// The sets that this machine supports, ascending. Never empty.
std::vector<InstructionSet> SupportedInstructionSets();
InstructionSet BestInstructionSet();

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_INSTRUCTION_SET_H_
