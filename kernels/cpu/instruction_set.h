// The instruction sets that the CPU backend is compiled for, and which of them this machine runs.
#ifndef RETNET_KERNELS_CPU_INSTRUCTION_SET_H_
#define RETNET_KERNELS_CPU_INSTRUCTION_SET_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace retnet::cpu {

// In ascending order of speed. Each has its own rounding; within one, results are exact (the same
// bits for a row whatever is beside it).
enum class InstructionSet {
  kScalar,      // plain C++: runs everywhere
  kAvx2,        // with FMA and F16C
  kAvx512,      // F, BW, DQ, VL
  kAvx512Bf16,  // and VDPBF16PS for products with bf16 weights, whose activations are rounded to
                // bf16
};

// "scalar", "avx2", "avx512", "avx512-bf16".
absl::string_view Name(InstructionSet set);

// INVALID_ARGUMENT for an unknown name; UNAVAILABLE for a set that this machine lacks.
absl::StatusOr<InstructionSet> ParseInstructionSet(absl::string_view name);

// What this machine runs, ascending; never empty.
std::vector<InstructionSet> SupportedInstructionSets();
InstructionSet BestInstructionSet();

}  // namespace retnet::cpu

#endif  // RETNET_KERNELS_CPU_INSTRUCTION_SET_H_
