#include "kernels/cpu/instruction_set.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "hwy/targets.h"

namespace retnet::cpu {
namespace {

constexpr InstructionSet kAll[] = {InstructionSet::kScalar, InstructionSet::kAvx2,
                                   InstructionSet::kAvx512, InstructionSet::kAvx512Bf16};

bool IsSupported(InstructionSet set) {
  switch (set) {
    case InstructionSet::kScalar:
      return true;
#if HWY_ARCH_X86
    // Highway also checks that the operating system saves the registers.
    case InstructionSet::kAvx2:
      return (hwy::SupportedTargets() & HWY_AVX2) != 0;
    case InstructionSet::kAvx512:
      return (hwy::SupportedTargets() & HWY_AVX3) != 0;
    case InstructionSet::kAvx512Bf16:
      return IsSupported(InstructionSet::kAvx512) && __builtin_cpu_supports("avx512bf16");
#endif
    default:
      return false;
  }
}

}  // namespace

absl::string_view Name(InstructionSet set) {
  switch (set) {
    case InstructionSet::kScalar:
      return "scalar";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx512Bf16:
      return "avx512-bf16";
  }
  return "unknown";
}

absl::StatusOr<InstructionSet> ParseInstructionSet(absl::string_view name) {
  for (InstructionSet set : kAll) {
    if (name != Name(set)) continue;
    if (IsSupported(set)) return set;
    return absl::UnavailableError(absl::StrCat("instruction set \"", name, "\": this machine runs ",
                                               Name(BestInstructionSet()), " at most"));
  }
  const auto append_name = [](std::string* out, InstructionSet set) {
    absl::StrAppend(out, Name(set));
  };
  return absl::InvalidArgumentError(absl::StrCat("instruction set \"", name, "\": must be one of ",
                                                 absl::StrJoin(kAll, ", ", append_name)));
}

std::vector<InstructionSet> SupportedInstructionSets() {
  std::vector<InstructionSet> supported;
  for (InstructionSet set : kAll) {
    if (IsSupported(set)) supported.push_back(set);
  }
  return supported;
}

InstructionSet BestInstructionSet() { return SupportedInstructionSets().back(); }

}  // namespace retnet::cpu
