// The measured limits of the machine, with which benchmarks are compared.
#ifndef RETNET_TESTS_BENCH_ROOFS_H_
#define RETNET_TESTS_BENCH_ROOFS_H_

#include <cstdint>

#include "kernels/cpu/instruction_set.h"

namespace retnet {

struct Roofs {
  double bytes_per_second = 0;           // reading memory that no cache holds
  double flops_per_second = 0;           // fp32 multiply-adds in registers, two operations each
  double bfloat16_flops_per_second = 0;  // VDPBF16PS where the set has it, else the same as fp32
};

// The best of several runs; measured once for each set and number of threads.
const Roofs& RoofsOf(cpu::InstructionSet set, int32_t threads);

// The operations of `steps` rounds of independent VDPBF16PS in registers; 0 where it was not
// compiled.
double RunBFloat16Dots(int64_t steps);

}  // namespace retnet

#endif  // RETNET_TESTS_BENCH_ROOFS_H_
