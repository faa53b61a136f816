// The textbook's recurrent form of retention, which reads and writes the whole state for every
// token: what the deferred update is compared with.
#ifndef RETNET_TESTS_BENCH_TEXTBOOK_RECURRENCE_H_
#define RETNET_TESTS_BENCH_TEXTBOOK_RECURRENCE_H_

#include <cstdint>

#include "kernels/cpu/instruction_set.h"

namespace retnet {

// One token of one head.
struct RecurrentHead {
  const float* q;        // [key_dim]
  const float* k;        // [key_dim]
  const float* v;        // [value_dim]
  const float* cosines;  // [key_dim / 2]
  const float* sines;    // [key_dim / 2]
  float decay;           // γ
  int64_t key_dim;
  int64_t value_dim;  // a multiple of 64
  float* state;       // S: key_dim · value_dim numbers, in an order of the instruction set's own
  float* rotated;     // [2, key_dim], scratch
  float* out;         // [value_dim]
};

// Rotates q and k, then S = γ S + kᵀ v and o = q S · key_dim^-½ in one pass over S.
using RecurrentStep = void (*)(const RecurrentHead& head);
RecurrentStep RecurrentStepFor(cpu::InstructionSet set);

}  // namespace retnet

#endif  // RETNET_TESTS_BENCH_TEXTBOOK_RECURRENCE_H_
