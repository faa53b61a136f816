// Which of Highway's targets are compiled; every file with Highway code includes this first. A
// file's part for one target lies in an anonymous namespace inside HWY_NAMESPACE and ends in a
// function that returns its operators as function pointers; the HWY_ONCE part hands out the
// instance for an InstructionSet with RETNET_FOR_INSTRUCTION_SET.
#ifndef RETNET_KERNELS_CPU_TARGETS_INL_H_
#define RETNET_KERNELS_CPU_TARGETS_INL_H_

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#define HWY_COMPILE_ALL_ATTAINABLE  // the scalar target too when compiled for a newer processor

#include "hwy/base.h"
#include "kernels/cpu/instruction_set.h"

// The value of Function() as compiled for `set` (kAvx512Bf16 is kAvx512 but for the bf16 product,
// which Highway cannot express). Function is declared in the HWY_NAMESPACE of every target.
#if HWY_ARCH_X86
#if HWY_BASELINE_SCALAR == HWY_SCALAR  // so with g++ before 12.3
#define RETNET_SCALAR_NAMESPACE N_SCALAR
#else
#define RETNET_SCALAR_NAMESPACE N_EMU128
#endif
#define RETNET_FOR_INSTRUCTION_SET(set, Function)                                        \
  ((set) == ::retnet::cpu::InstructionSet::kScalar ? RETNET_SCALAR_NAMESPACE::Function() \
   : (set) == ::retnet::cpu::InstructionSet::kAvx2 ? N_AVX2::Function()                  \
                                                   : N_AVX3::Function())
#else
#define RETNET_FOR_INSTRUCTION_SET(set, Function) HWY_STATIC_DISPATCH(Function)()
#endif

#endif  // RETNET_KERNELS_CPU_TARGETS_INL_H_
