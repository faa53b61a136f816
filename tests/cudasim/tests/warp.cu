// Shuffles, votes, match, redux, activemask, cooperative groups.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>

#include "check.h"
namespace cg = cooperative_groups;

__global__ void shuffles(int* o) {
  const int t = threadIdx.x, l = t & 31;
  int k = 0;
  auto put = [&](int v) { o[t * 16 + k++] = v; };
  put(__shfl_sync(~0u, l * 3, 5));
  put(__shfl_sync(~0u, l * 3, l + 1, 8));
  put(__shfl_up_sync(~0u, l, 3));
  put(__shfl_up_sync(~0u, l, 2, 16));
  put(__shfl_down_sync(~0u, l, 4));
  put(__shfl_down_sync(~0u, l, 1, 4));
  put(__shfl_xor_sync(~0u, l, 7));
  put(__shfl_xor_sync(~0u, l, 16, 16));
  put((int)(__shfl_sync(~0u, (long long)l << 33, 9) >> 33));
  put((int)__shfl_xor_sync(~0u, l * 0.5, 2));
  put((int)__half2float(__shfl_sync(~0u, __float2half(l), 30)));
  if (l < 20)
    put(__shfl_sync(0xfffff, l + 100, 19));
  else
    put(__shfl_sync(0xfff00000, l + 200, 31));
}
static void test_shuffles() {
  Array<int> o(64 * 16);
  shuffles<<<1, 64>>>(o);
  LAUNCHED();
  o.down();
  for (int t = 0; t < 64; ++t) {
    const int l = t & 31;
    int k = 0;
    auto want = [&](int v) {
      EQUAL_I(t * 100 + k, o[t * 16 + k], v);
      ++k;
    };
    want(15);
    want(((l & ~7) | ((l + 1) & 7)) * 3);
    want(l < 3 ? l : l - 3);
    want((l & 15) < 2 ? l : l - 2);
    want(l + 4 > 31 ? l : l + 4);
    want((l & 3) == 3 ? l : l + 1);
    want(l ^ 7);
    want((l ^ 16) > (l | 15) ? l : l ^ 16);
    want(9);
    want((l ^ 2) / 2);
    want(30);
    want(l < 20 ? 119 : 231);
  }
}

__global__ void votes(unsigned* o) {
  const int t = threadIdx.x, l = t & 31;
  int k = 0;
  auto put = [&](unsigned v) { o[t * 20 + k++] = v; };
  put(__ballot_sync(~0u, l % 3 == 0));
  put(__any_sync(~0u, l == 9));
  put(__all_sync(~0u, l < 32));
  put(__all_sync(~0u, l < 31));
  put(__uni_sync(~0u, l >= 0));
  if (l & 1)
    put(__ballot_sync(0xaaaaaaaa, l > 10));
  else
    put(__ballot_sync(0x55555555, l > 10));
  put(__syncthreads_count(t % 5 == 0));
  put(__syncthreads_and(t < 1000) != 0);
  put(__syncthreads_or(t == 3) != 0);
#if __CUDA_ARCH__ >= 700
  put(__match_any_sync(~0u, l % 4));
  int same;
  put(__match_all_sync(~0u, 5, &same));
  put(same);
  put(__match_all_sync(~0u, l, &same));
  put(same);
  put(__match_any_sync(~0u, (unsigned long long)(l / 16) << 40));
#endif
}
static void test_votes() {
  Array<unsigned> o(96 * 20);
  votes<<<1, 96>>>(o);
  LAUNCHED();
  o.down();
  for (int t = 0; t < 96; ++t) {
    const int l = t & 31;
    int k = 0;
    auto want = [&](unsigned v) {
      EQUAL_I(t * 100 + k, o[t * 20 + k], v);
      ++k;
    };
    unsigned b3 = 0;
    for (int i = 0; i < 32; i += 3) b3 |= 1u << i;
    want(b3);
    want(1);
    want(1);
    want(0);
    want(1);
    want((l & 1 ? 0xaaaaaaaau : 0x55555555u) & (~0u << 11));
    want(20);
    want(1);
    want(1);
    want(0x11111111u << (l % 4));
    want(~0u);
    want(1);
    want(0);
    want(0);
    want(l < 16 ? 0xffffu : 0xffff0000u);
  }
}

__global__ void redux(int* o) {
  const int l = threadIdx.x & 31;
  int k = 0;
  auto put = [&](int v) { o[threadIdx.x * 8 + k++] = v; };
#if __CUDA_ARCH__ >= 800
  put(__reduce_add_sync(~0u, l));
  put(__reduce_min_sync(~0u, l - 7));
  put(__reduce_max_sync(~0u, l - 7));
  put((int)__reduce_max_sync(~0u, (unsigned)l * 0x10000000u));
  put(__reduce_and_sync(~0u, l | 64));
  put(__reduce_or_sync(~0u, 1u << l));
  put(__reduce_xor_sync(~0u, l));
  put(l < 8 ? __reduce_add_sync(0xff, l) : 0);
#endif
}
static void test_redux() {
  cudaDeviceProp p;
  CUDA(cudaGetDeviceProperties(&p, 0));
  if (p.major < 8) return;
  Array<int> o(32 * 8);
  redux<<<1, 32>>>(o);
  LAUNCHED();
  o.down();
  for (int l = 0; l < 32; ++l) {
    const int want[8] = {496, -7, 24, (int)0xf0000000u, 64, -1, 0, l < 8 ? 28 : 0};
    for (int k = 0; k < 8; ++k) EQUAL_I(l * 100 + k, o[l * 8 + k], want[k]);
  }
}

__global__ void groups(const float* x, float* o, int* n) {
  auto block = cg::this_thread_block();
  auto warp = cg::tiled_partition<32>(block);
  auto t8 = cg::tiled_partition<8>(warp);
  auto t4 = cg::tiled_partition<4>(block);
  const int t = block.thread_rank();
  o[t * 6 + 0] = cg::reduce(warp, x[t], cg::plus<float>());
  o[t * 6 + 1] = cg::reduce(t8, x[t], cg::greater<float>());
  o[t * 6 + 2] = t4.shfl_down(x[t], 1);
  o[t * 6 + 3] = cg::inclusive_scan(warp, (float)warp.thread_rank(), cg::plus<float>());
  o[t * 6 + 4] = (float)cg::reduce(warp, t, cg::less<int>());
  block.sync();
  if (t % 3 == 0) {  // opportunistic aggregation
    auto g = cg::coalesced_threads();
    int base = 0;
    if (g.thread_rank() == 0) base = atomicAdd(n, (int)g.size());
    o[t * 6 + 5] = (float)(g.shfl(base, 0) + (int)g.thread_rank());
    if (g.thread_rank() == 0) atomicAdd(n + 1, 1);
  } else {
    o[t * 6 + 5] = -1;
  }
}
static void test_groups() {
  constexpr int T = 128;
  Array<float> x(T), o(T * 6);
  Array<int> n(2);
  for (int i = 0; i < T; ++i) x[i] = noise(i);
  x.up();
  groups<<<1, T>>>(x, o, n);
  LAUNCHED();
  o.down();
  n.down();
  std::vector<int> seen(T, 0);
  int members = 0;
  for (int t = 0; t < T; ++t) {
    double s = 0, m = -2;
    for (int i = t & ~31; i < (t & ~31) + 32; ++i) s += x[i];
    for (int i = t & ~7; i < (t & ~7) + 8; ++i) m = fmax(m, x[i]);
    NEAR_I(t, o[t * 6 + 0], s, 1e-5);
    NEAR_I(t, o[t * 6 + 1], m, 0);
    NEAR_I(t, o[t * 6 + 2], (t & 3) == 3 ? x[t] : x[t + 1], 0);
    const int l = t & 31;
    NEAR_I(t, o[t * 6 + 3], l * (l + 1) / 2, 0);
    NEAR_I(t, o[t * 6 + 4], t & ~31, 0);
    if (t % 3 == 0) {
      const int r = (int)o[t * 6 + 5];
      CHECK(r >= 0 && r < T && !seen[r]);
      if (r >= 0 && r < T) seen[r] = 1;
      ++members;
    } else
      NEAR_I(t, o[t * 6 + 5], -1, 0);
  }
  EQUAL(n[0], members);
  EQUAL(n[1], 4);  // one aggregate per warp: the group had converged
}

__global__ void partial(int* o) {  // 40 threads: the second warp has 8 lanes
  const int t = threadIdx.x, l = t & 31;
  const unsigned m = t < 32 ? ~0u : 0xff;
  int v = t;
  for (int d = t < 32 ? 16 : 4; d; d >>= 1) v += __shfl_xor_sync(m, v, d);
  o[t] = v + __popc(__ballot_sync(m, l & 1)) * 10000;
  o[t] += __shfl_down_sync(~0u, l, 1) * 0;  // a full mask stands for the lanes that exist
}
static void test_partial() {
  Array<int> o(40);
  partial<<<1, 40>>>(o);
  LAUNCHED();
  o.down();
  for (int t = 0; t < 40; ++t) EQUAL_I(t, o[t], t < 32 ? 496 + 160000 : (32 + 39) * 4 + 40000);
}

__global__ void early_exit(int* o) {
  const int t = threadIdx.x;
  if (t % 4 == 3) return;
  const unsigned m = __activemask();
  o[t] = __popc(__ballot_sync(m, 1)) * 1000 + __popc(m);
  __syncthreads();
}
static void test_early_exit() {
  Array<int> o(64);
  early_exit<<<1, 64>>>(o);
  LAUNCHED();
  o.down();
  for (int t = 0; t < 64; ++t) EQUAL_I(t, o[t], t % 4 == 3 ? 0 : 24024);
}

int main() {
  test_shuffles();
  test_votes();
  test_redux();
  test_groups();
  test_partial();
  test_early_exit();
  return finish("warp");
}
