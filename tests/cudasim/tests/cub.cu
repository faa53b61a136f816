// CUB block, warp and device algorithms.
#include <algorithm>
#include <cub/cub.cuh>
#include <numeric>

#include "check.h"

__global__ void blocks(const float* x, const unsigned* keys, float* o, unsigned* sorted, int* scan,
                       int* values) {
  using Reduce = cub::BlockReduce<float, 128>;
  using Scan = cub::BlockScan<int, 128>;
  using Sort = cub::BlockRadixSort<unsigned, 128, 4, int>;
  using Warp = cub::WarpReduce<float>;
  using Max = cub::BlockReduce<float, 96, cub::BLOCK_REDUCE_RAKING>;
  __shared__ union {
    typename Reduce::TempStorage r;
    typename Scan::TempStorage s;
    typename Sort::TempStorage q;
    typename Warp::TempStorage w[4];
    typename Max::TempStorage m;
  } t;
  const int i = threadIdx.x;
  const float sum = Reduce(t.r).Sum(x[i]);
  if (i == 0) o[0] = sum;
  __syncthreads();
  const float part = Reduce(t.r).Sum(x[i], 77);
  if (i == 0) o[1] = part;
  __syncthreads();
  int v, total;
  Scan(t.s).ExclusiveSum(i * 3, v, total);
  scan[i] = v;
  if (i == 0) scan[128] = total;
  __syncthreads();
  const float w = Warp(t.w[i / 32]).Reduce(x[i], [](float a, float b) { return a > b ? a : b; });
  if (i % 32 == 0) o[2 + i / 32] = w;
  __syncthreads();
  unsigned k[4];
  int p[4];
  for (int j = 0; j < 4; ++j) k[j] = keys[i * 4 + j], p[j] = i * 4 + j;
  Sort(t.q).Sort(k, p);
  for (int j = 0; j < 4; ++j) sorted[i * 4 + j] = k[j], values[i * 4 + j] = p[j];
}
static void test_blocks() {
  Array<float> x(128), o(8);
  Array<unsigned> keys(512), sorted(512);
  Array<int> scan(129), values(512);
  for (int i = 0; i < 128; ++i) x[i] = noise(i);
  for (int i = 0; i < 512; ++i) keys[i] = (unsigned)(noise(i) * 2e9f);
  x.up();
  keys.up();
  blocks<<<1, 128>>>(x, keys, o, sorted, scan, values);
  LAUNCHED();
  o.down();
  sorted.down();
  scan.down();
  values.down();
  double s = 0, part = 0;
  for (int i = 0; i < 128; ++i) {
    s += x[i];
    if (i < 77) part += x[i];
  }
  NEAR(o[0], s, 1e-5);
  NEAR(o[1], part, 1e-5);
  for (int w = 0; w < 4; ++w)
    NEAR_I(w, o[2 + w], *std::max_element(&x[w * 32], &x[w * 32] + 32), 0);
  for (int i = 0; i <= 128; ++i) EQUAL_I(i, scan[i], 3 * i * (i - 1) / 2);
  std::vector<int> order(512);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return keys[a] < keys[b]; });
  for (int i = 0; i < 512; ++i)
    EQUAL_I(i, sorted[i], keys[order[i]]), EQUAL_I(i, values[i], order[i]);
}
template <class F>
static void with_temp(F f) {
  size_t n = 0;
  void* p = nullptr;
  CUDA(f(p, n));
  CUDA(cudaMalloc(&p, n ? n : 1));
  CUDA(f(p, n));
  CUDA(cudaDeviceSynchronize());
  CUDA(cudaFree(p));
}
static void test_device() {
  const int N = 10000;
  Array<float> keys(N), out(N), sum(1), seg(4);
  Array<int> v(N), vo(N), scan(N), off(5);
  for (int i = 0; i < N; ++i) keys[i] = noise(i) * 100, v[i] = i % 7;
  const int offs[5] = {0, 10, 10, 5000, N};
  for (int i = 0; i < 5; ++i) off[i] = offs[i];
  keys.up();
  v.up();
  off.up();
  with_temp([&](void* p, size_t& n) {
    return cub::DeviceRadixSort::SortPairsDescending(p, n, keys.d, out.d, v.d, vo.d, N);
  });
  with_temp(
      [&](void* p, size_t& n) { return cub::DeviceScan::InclusiveSum(p, n, v.d, scan.d, N); });
  with_temp([&](void* p, size_t& n) { return cub::DeviceReduce::Sum(p, n, keys.d, sum.d, N); });
  with_temp([&](void* p, size_t& n) {
    return cub::DeviceSegmentedReduce::Sum(p, n, keys.d, seg.d, 4, off.d, off.d + 1);
  });
  out.down();
  vo.down();
  scan.down();
  sum.down();
  seg.down();
  std::vector<int> order(N);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return keys[a] > keys[b]; });
  int acc = 0;
  double s = 0;
  for (int i = 0; i < N; ++i) {
    NEAR_I(i, out[i], keys[order[i]], 0);
    EQUAL_I(i, vo[i], v[order[i]]);
    acc += v[i];
    EQUAL_I(i, scan[i], acc);
    s += keys[i];
  }
  NEAR(sum[0], s, 1e-3);
  for (int k = 0; k < 4; ++k) {
    double t = 0;
    for (int i = offs[k]; i < offs[k + 1]; ++i) t += keys[i];
    NEAR_I(k, seg[k], t, 1e-3);
  }
}
int main() {
  test_blocks();
  test_device();
  return finish("cub");
}
