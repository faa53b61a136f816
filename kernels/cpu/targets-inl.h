// Chooses the Highway targets to compile. Every file with Highway code includes this first. In such
// a file, the code of one target is in an anonymous namespace inside HWY_NAMESPACE. Its last
// function returns the operators as function pointers. The HWY_ONCE part selects the instance for
// an InstructionSet with RETNET_FOR_INSTRUCTION_SET.
#ifndef RETNET_KERNELS_CPU_TARGETS_INL_H_
#define RETNET_KERNELS_CPU_TARGETS_INL_H_

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#define HWY_COMPILE_ALL_ATTAINABLE  // also the scalar target when compiling for a newer processor

#include "hwy/base.h"
#include "hwy/detect_targets.h"
#include "kernels/cpu/instruction_set.h"

// The value of Function() as compiled for `set`. kAvx512Bf16 uses the code of kAvx512; the bf16
// product, which Highway cannot express, is handled in matmul.cc. Function must be declared in the
// HWY_NAMESPACE of every target.
#if HWY_ARCH_X86
#if HWY_BASELINE_SCALAR == HWY_SCALAR  // true for g++ before 12.3
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
