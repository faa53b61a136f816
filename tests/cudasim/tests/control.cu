// Control flow, calls, barriers, printf, large grids. control_b.cu is the second translation unit.
#include <cassert>

#include "check.h"

int run_other(int* d);  // control_b.cu has static kernels of the same names

static __global__ void same_name(int* o) { o[threadIdx.x] = 100 + threadIdx.x; }
static __device__ int same_variable = 7;
static __global__ void read_variable(int* o) { o[0] = same_variable; }

__device__ __noinline__ int classify(int x) {
  switch (x) {  // dense: becomes a branch table
    case 0:
      return 17;
    case 1:
      return 4;
    case 2:
      return 99;
    case 3:
      return -5;
    case 4:
      return 12;
    case 5:
      return 8;
    case 6:
      return 31;
    case 7:
      return 2;
    case 8:
      return 77;
    default:
      return x * 3;
  }
}
__device__ int branch_table(int i) {  // brx.idx
  int r;
  asm volatile(
      "{\n .reg .b32 t;\n ts_%=: .branchtargets La_%=, Lb_%=, Lc_%=;\n mov.b32 t, 0;\n brx.idx %1, "
      "ts_%=;\n"
      "La_%=: add.s32 t, t, 5;\n bra Le_%=;\n Lb_%=: mov.b32 t, 70;\n Lc_%=: add.s32 t, t, 9;\n "
      "Le_%=: mov.b32 %0, t;\n }"
      : "=r"(r)
      : "r"(i));
  return r;
}
__device__ __noinline__ float poly(float x, const float* c, int n, int* calls) {
  float r = 0;
  for (int i = 0; i < n; ++i) r = r * x + c[i];
  ++*calls;
  return r;
}
struct Pair {
  float a;
  int b;
  double c;
};
__device__ __noinline__ Pair make_pair(float a, int b) { return Pair{a * 2, b + 1, a + b * 0.5}; }
__device__ int twice(int x) { return 2 * x; }
__device__ int square(int x) { return x * x; }
__device__ int (*const g_table[2])(int) = {twice, square};
struct Base {
  __device__ virtual int f(int x) { return x + 1; }
};
struct Derived : Base {
  __device__ int f(int x) override { return x + 10; }
};

__global__ void calls(int* o, float* f, int sel) {
  const int t = threadIdx.x;
  const float c[3] = {1, 2, 3};
  int n = 0;
  o[t * 8] = classify(t);
  f[t * 2] = poly(t * 0.5f, c, 3, &n);
  f[t * 2] += poly(1, c, 2, &n) * 0;
  o[t * 8 + 1] = n;
  const Pair p = make_pair(t, t * 2);
  o[t * 8 + 2] = p.b;
  f[t * 2 + 1] = p.a + (float)p.c;
  o[t * 8 + 3] = g_table[(t + sel) & 1](t);
  Base b;
  Derived d;
  Base* q = (t + sel) & 1 ? &b : &d;
  o[t * 8 + 4] = q->f(t);
  o[t * 8 + 5] = branch_table(t % 3);
  o[t * 8 + 6] =
      (int)(__vabsdiffu4(t * 0x01020304u, 0x30303030u) + __vsadu4(t * 0x01020304u, 0x30303030u));
}
static void test_calls() {
  Array<int> o(64 * 8);
  Array<float> f(64 * 2);
  calls<<<1, 64>>>(o, f, 1);
  LAUNCHED();
  o.down();
  f.down();
  const int table[9] = {17, 4, 99, -5, 12, 8, 31, 2, 77};
  for (int t = 0; t < 64; ++t) {
    const float x = t * 0.5f;
    EQUAL_I(t, o[t * 8], t < 9 ? table[t] : t * 3);
    NEAR_I(t, f[t * 2], x * x + 2 * x + 3, 1e-6);
    EQUAL_I(t, o[t * 8 + 1], 2);
    EQUAL_I(t, o[t * 8 + 2], t * 2 + 1);
    NEAR_I(t, f[t * 2 + 1], 2 * t + t + t * 1.0, 1e-6);
    EQUAL_I(t, o[t * 8 + 3], (t + 1) & 1 ? t * t : 2 * t);
    EQUAL_I(t, o[t * 8 + 4], (t + 1) & 1 ? t + 1 : t + 10);
    EQUAL_I(t, o[t * 8 + 5], t % 3 == 0 ? 5 : t % 3 == 1 ? 79 : 9);
    unsigned packed = 0, sum = 0;
    for (int i = 0; i < 4; ++i) {
      const int d = abs((int)(t * 0x01020304u >> 8 * i & 255) - 0x30);
      packed |= (unsigned)d << 8 * i;
      sum += d;
    }
    EQUAL_I(t, o[t * 8 + 6], (int)(packed + sum));
  }
}

__global__ void branches(const int* x, int* o) {
  const int t = threadIdx.x;
  int v = x[t], steps = 0;
  while (v != 1) {  // Collatz: strongly divergent
    v = v & 1 ? 3 * v + 1 : v / 2;
    if (++steps > 500) break;
  }
  o[t] = steps;
  if (t % 2) o[t] += __popc(__ballot_sync(0xaaaaaaaa, v == 1));
  __syncthreads();
  if (t == 0)
    for (int i = 1; i < 64; ++i) o[0] += o[i];
}
static void test_branches() {
  Array<int> x(64), o(64);
  for (int i = 0; i < 64; ++i) x[i] = i + 1;
  x.up();
  branches<<<1, 64>>>(x, o);
  LAUNCHED();
  o.down();
  int sum = 0;
  for (int t = 63; t >= 0; --t) {
    int v = t + 1, s = 0;
    while (v != 1) v = v & 1 ? 3 * v + 1 : v / 2, ++s;
    if (t & 1) s += 16;
    if (t) EQUAL_I(t, o[t], s);
    sum += s;
  }
  EQUAL(o[0], sum);
}

// Producer warp 0, consumer warps 1..3, named barriers 1 and 2.
__global__ void named(int* o) {
  __shared__ int box[2];
  const int t = threadIdx.x;
  for (int i = 0; i < 6; ++i) {
    if (t < 32) {
      if (t == 0) box[i & 1] = i * 11;
      __threadfence_block();
      asm volatile("bar.arrive 1, 128;" ::: "memory");
      asm volatile("bar.sync 2, 128;" ::: "memory");
    } else {
      asm volatile("bar.sync 1, 128;" ::: "memory");
      o[i * 96 + t - 32] = box[i & 1];
      asm volatile("barrier.cta.sync 2, 128;" ::: "memory");
    }
  }
}
static void test_named() {
  Array<int> o(6 * 96);
  named<<<1, 128>>>(o);
  LAUNCHED();
  o.down();
  for (int i = 0; i < 6 * 96; ++i) EQUAL_I(i, o[i], i / 96 * 11);
}

// A flag passed between warps of a block and between blocks.
__global__ void flags(volatile int* flag, int* o) {
  __shared__ volatile int ready;
  if (threadIdx.x == 0) ready = 0;
  __syncthreads();
  if (threadIdx.x == 40) {
    __nanosleep(100);
    ready = 1;
  }
  if (threadIdx.x == 3) {
    while (!ready) {
    }
    o[blockIdx.x] = 1;
  }
  __syncthreads();
  if (threadIdx.x == 0) {  // every block waits for its predecessor
    while (blockIdx.x && flag[blockIdx.x - 1] == 0) {
    }
    __threadfence();
    o[blockIdx.x] += blockIdx.x ? o[blockIdx.x - 1] : 0;
    __threadfence();
    flag[blockIdx.x] = 1;
  }
}
static void test_flags() {
  Array<int> f(64), o(64);
  flags<<<64, 64>>>(f, o);
  LAUNCHED();
  o.down();
  for (int i = 0; i < 64; ++i) EQUAL_I(i, o[i], i + 1);
}

__global__ void __launch_bounds__(128, 2) big_grid(unsigned long long* sum, size_t n) {
  unsigned long long s = 0;
  for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n;
       i += (size_t)gridDim.x * blockDim.x)
    s += i;
  atomicAdd(sum, s);
}
__global__ void three_d(int* o) {
  const int b = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x,
            t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  o[b * blockDim.x * blockDim.y * blockDim.z + t] = b * 1000 + t;
}
static void test_grids() {
  Array<unsigned long long> s(1);
  big_grid<<<3000, 128>>>(s, 1000003);
  LAUNCHED();
  EQUAL(s.down()[0], 1000003ull * 1000002 / 2);
  Array<int> o(24 * 60);
  three_d<<<dim3(2, 3, 4), dim3(5, 4, 3)>>>(o);
  LAUNCHED();
  o.down();
  for (int i = 0; i < 24 * 60; ++i) EQUAL_I(i, o[i], i / 60 * 1000 + i % 60);
  big_grid<<<1, 256>>>(s, 5);  // exceeds the launch bounds
  CHECK(cudaGetLastError() != cudaSuccess);
}

__global__ void services(long long* o) {
  assert(threadIdx.x < 64);
  const long long t0 = clock64();
  const unsigned c = (unsigned)clock();
  if (threadIdx.x == 1)
    printf("device printf: %d %u %.2f %s %c %lld %5x|\n", -3, 4u, 2.5f, "text", 'c', 1ll << 40,
           255);
  __nanosleep(10);
  o[threadIdx.x] = clock64() >= t0 && ((unsigned)clock() - c) < 0x80000000u;
}
static void test_services() {
  Array<long long> o(64);
  services<<<1, 64>>>(o);
  LAUNCHED();
  o.down();
  for (int i = 0; i < 64; ++i) EQUAL_I(i, o[i], 1);
}

static void test_translation_units() {
  Array<int> o(64);
  same_name<<<1, 32>>>(o);
  LAUNCHED();
  EQUAL(o.down()[5], 105);
  run_other(o);
  EQUAL(o.down()[5], 205);
  EQUAL(o[32], 9);
  read_variable<<<1, 1>>>(o);
  LAUNCHED();
  EQUAL(o.down()[0], 7);
}

int main() {
  test_calls();
  test_branches();
  test_named();
  test_flags();
  test_grids();
  test_services();
  test_translation_units();
  return finish("control");
}
