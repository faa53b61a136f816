#include "check.h"
static __global__ void same_name(int* o) { o[threadIdx.x] = 200 + threadIdx.x; }
static __device__ int same_variable = 9;
static __global__ void read_variable(int* o) { o[32] = same_variable; }
int run_other(int* d) {
  same_name<<<1, 32>>>(d);
  read_variable<<<1, 1>>>(d);
  LAUNCHED();
  return 0;
}
