// Loads, stores, atomics, cp.async, constant memory, device variables, local and shared memory.
#include <cuda_pipeline.h>

#include "check.h"

__constant__ float c_table[16];
__constant__ int c_fixed[4] = {10, 20, 30, 40};
__device__ int g_counter = 5;
__device__ float g_values[8] = {0.5f, 1.5f, 2.5f};
__device__ int* g_pointer = &g_counter;
__device__ const char* g_names[2] = {"alpha", "beta"};
static __device__ int g_unused[4];

__global__ void vectors(const float4* a, const uint2* b, const short4* s, const double2* d,
                        float4* oa, uint2* ob, short4* os, double2* od, const unsigned char* bytes,
                        int* sum) {
  const int i = threadIdx.x;
  float4 x = __ldg(a + i);
  x.x += 1;
  oa[i] = x;
  uint2 y = __ldcs(b + i);
  __stcs(ob + i, make_uint2(y.y, y.x));
  short4 z = s[i];
  os[i] = make_short4(z.w, z.z, z.y, z.x);
  double2 w = __ldcg(d + i);
  __stwt(od + i, make_double2(w.y, w.x));
  sum[i] = bytes[i] + (signed char)bytes[i] + __ldlu(bytes + i);
  unsigned r;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.u32 %0, [%1];" : "=r"(r) : "l"(b + i));
  sum[i] += r == y.x ? 0 : 1000000;
  asm volatile("prefetch.global.L2 [%0];" ::"l"(a + i));
  uint4 q;
  asm volatile("ld.global.nc.L1::evict_last.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(q.x), "=r"(q.y), "=r"(q.z), "=r"(q.w)
               : "l"(a + i));
  sum[i] += __uint_as_float(q.w) == x.w ? 0 : 1000000;
}
static void test_vectors() {
  constexpr int N = 64;
  Array<float4> a(N), oa(N);
  Array<uint2> b(N), ob(N);
  Array<short4> s(N), os(N);
  Array<double2> d(N), od(N);
  Array<unsigned char> bytes(N);
  Array<int> sum(N);
  for (int i = 0; i < N; ++i)
    a[i] = make_float4(i, i + .25f, i + .5f, i + .75f), b[i] = make_uint2(i * 7, i * 9),
    s[i] = make_short4(i, -i, i * 2, -2 * i), d[i] = make_double2(i * .1, i * .2),
    bytes[i] = (unsigned char)(i * 5);
  a.up();
  b.up();
  s.up();
  d.up();
  bytes.up();
  vectors<<<1, N>>>(a, b, s, d, oa, ob, os, od, bytes, sum);
  LAUNCHED();
  oa.down();
  ob.down();
  os.down();
  od.down();
  sum.down();
  for (int i = 0; i < N; ++i) {
    NEAR_I(i, oa[i].x, i + 1, 0);
    NEAR_I(i, oa[i].w, i + .75, 0);
    EQUAL_I(i, ob[i].x, i * 9);
    EQUAL_I(i, ob[i].y, i * 7);
    EQUAL_I(i, os[i].x, -2 * i);
    EQUAL_I(i, os[i].w, i);
    NEAR_I(i, od[i].x, i * .2, 0);
    EQUAL_I(i, sum[i], 2 * bytes[i] + (signed char)bytes[i]);
  }
}

__global__ void symbols(int* o, float* f) {
  const int i = threadIdx.x;
  f[i] = c_table[i & 15] * 2 + c_fixed[i & 3] + g_values[i & 7];
  if (i == 0)
    atomicAdd(&g_counter, 3), o[0] = *g_pointer, o[1] = g_names[1][0], o[2] = g_names[0][4];
  if (i == 5000) o[3] = g_unused[i & 3];
}
static void test_symbols() {
  Array<int> o(4);
  Array<float> f(32);
  float table[16];
  for (int i = 0; i < 16; ++i) table[i] = i * 1.5f;
  CUDA(cudaMemcpyToSymbol(c_table, table, sizeof table));
  const float v = 9;
  CUDA(cudaMemcpyToSymbol(g_values, &v, 4, 7 * 4));
  symbols<<<1, 32>>>(o, f);
  LAUNCHED();
  o.down();
  f.down();
  const float values[8] = {0.5f, 1.5f, 2.5f, 0, 0, 0, 0, 9};
  for (int i = 0; i < 32; ++i)
    NEAR_I(i, f[i], table[i & 15] * 2 + (i & 3) * 10 + 10 + values[i & 7], 1e-6);
  EQUAL(o[0], 8);
  EQUAL(o[1], 'b');
  EQUAL(o[2], 'a');
  int c;
  CUDA(cudaMemcpyFromSymbol(&c, g_counter, 4));
  EQUAL(c, 8);
  void* p;
  size_t n;
  CUDA(cudaGetSymbolAddress(&p, g_counter));
  CUDA(cudaGetSymbolSize(&n, g_values));
  EQUAL(n, 32);
  const int five = 5;
  CUDA(cudaMemcpy(p, &five, 4, cudaMemcpyHostToDevice));
  CHECK(cudaMemcpyToSymbol(c_table, table, 65) == cudaErrorInvalidValue);
  cudaGetLastError();
}

__global__ void atomics(int* i, unsigned* u, unsigned long long* q, float* f, double* d,
                        __nv_bfloat162* b, __half2* h, int* out) {
  __shared__ int s;
  __shared__ unsigned su;
  __shared__ float sf;
  __shared__ unsigned long long sq;
  const int t = threadIdx.x + blockIdx.x * blockDim.x;
  if (threadIdx.x == 0) s = 0, su = 0, sf = 0, sq = 0;
  __syncthreads();
  atomicAdd(&s, t);
  atomicMax(&su, (unsigned)t);
  atomicAdd(&sf, 0.5f);
  atomicAdd(&sq, 1ull << 33);
  atomicAdd(i, 1);
  atomicSub(i + 1, 2);
  atomicMin(i + 2, -t);
  atomicMax(i + 3, t);
  atomicAnd(i + 4, ~(1 << (t & 31)));
  atomicOr(i + 5, 1 << (t & 31));
  atomicXor(i + 6, t);
  atomicInc(u, 99);
  atomicDec(u + 1, 50);
  atomicExch(u + 2, 77u);
  atomicAdd(q, (unsigned long long)t << 32);
  atomicMax(q + 1, (unsigned long long)t << 40);
  atomicAdd(f, 0.25f);
  atomicAdd(d, 0.125);
  atomicAdd(b, __floats2bfloat162_rn(1, 2));
  atomicAdd(h, __floats2half2_rn(0.5f, 1));
  int old = i[7], seen;
  do {
    seen = old;
    old = atomicCAS(i + 7, seen, seen + 3);
  } while (old != seen);
  atomicAdd_block(i + 8, 1);
  atomicAdd_system(i + 9, 1);
  out[t] = atomicAdd(i + 10, 1);
  __syncthreads();
  if (threadIdx.x == 0)
    atomicAdd(i + 11, s), atomicMax(u + 3, su), atomicAdd(f + 1, sf), atomicAdd(q + 2, sq);
}
static void test_atomics() {
  constexpr int T = 64, G = 4, N = T * G;
  Array<int> i(16), out(N);
  Array<unsigned> u(4);
  Array<unsigned long long> q(3);
  Array<float> f(2);
  Array<double> d(1);
  Array<__nv_bfloat162> b(1, __floats2bfloat162_rn(0, 0));
  Array<__half2> h(1, __floats2half2_rn(0, 0));
  i[4] = -1;
  i.up();
  u[1] = 1000;
  u.up();
  atomics<<<G, T>>>(i, u, q, f, d, b, h, out);
  LAUNCHED();
  i.down();
  u.down();
  q.down();
  f.down();
  d.down();
  b.down();
  h.down();
  out.down();
  EQUAL(i[0], N);
  EQUAL(i[1], -2 * N);
  EQUAL(i[2], -(N - 1));
  EQUAL(i[3], N - 1);
  EQUAL(i[4], 0);
  EQUAL(i[5], -1);
  EQUAL(i[6], 0);
  EQUAL(i[7], 3 * N);
  EQUAL(i[8], N);
  EQUAL(i[9], N);
  EQUAL(i[11], N * (N - 1) / 2);
  EQUAL(u[0], N % 100);
  EQUAL(u[1], 50 - (N - 1) % 51);
  EQUAL(u[2], 77);
  EQUAL(u[3], N - 1);
  EQUAL(q[0], (unsigned long long)(N * (N - 1) / 2) << 32);
  EQUAL(q[1], (unsigned long long)(N - 1) << 40);
  EQUAL(q[2], (unsigned long long)N << 33);
  NEAR(f[0], N * .25, 0);
  NEAR(f[1], N * .5, 0);
  NEAR(d[0], N * .125, 0);
  NEAR(__low2float(b[0]), N, 0);
  NEAR(__high2float(b[0]), 2 * N, 0);
  NEAR(__low2float(h[0]), N * .5, 0);
  std::vector<int> seen(N);
  for (int t = 0; t < N; ++t)
    if (out[t] >= 0 && out[t] < N) ++seen[out[t]];
  for (int t = 0; t < N; ++t) EQUAL_I(t, seen[t], 1);
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define HAVE_CP_ASYNC 1
#endif
__global__ void copies(const float* g, float* o, int valid) {
  __shared__ __align__(16) float s16[128 * 4], s8[128 * 2], s4[128], z[128 * 4];
  const int t = threadIdx.x;
  __pipeline_memcpy_async(&s16[t * 4], g + t * 4, 16);
  __pipeline_commit();
  __pipeline_memcpy_async(&s8[t * 2], g + t * 2, 8);
  __pipeline_memcpy_async(&s4[t], g + t, 4);
  __pipeline_commit();
  __pipeline_memcpy_async(&z[t * 4], g + t * 4, 16, t < valid ? 0 : t == valid ? 8 : 16);
  __pipeline_commit();
  __pipeline_wait_prior(2);
  __syncthreads();
  o[t * 4] = s16[((t + 1) & 127) * 4 + 3];
  __pipeline_wait_prior(1);
  __syncthreads();
  o[t * 4 + 1] = s8[(t ^ 5) * 2 + 1] + s4[t ^ 9];
  __pipeline_wait_prior(0);
  __syncthreads();
  o[t * 4 + 2] = z[(t ^ 1) * 4 + 1] + z[(t ^ 1) * 4 + 2];
#ifdef HAVE_CP_ASYNC
  const unsigned a = (unsigned)__cvta_generic_to_shared(&s16[t * 4]);
  __syncthreads();
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;\n cp.async.wait_all;" ::"r"(a),
               "l"(g + (127 - t) * 4)
               : "memory");
#else
  __syncthreads();
  for (int i = 0; i < 4; ++i) s16[t * 4 + i] = g[(127 - t) * 4 + i];
#endif
  __syncthreads();
  o[t * 4 + 3] = s16[(t ^ 2) * 4];
}
static void test_copies() {
  Array<float> g(512), o(512);
  for (int i = 0; i < 512; ++i) g[i] = i + 1;
  g.up();
  copies<<<1, 128>>>(g, o, 100);
  LAUNCHED();
  o.down();
  for (int t = 0; t < 128; ++t) {
    auto z = [&](int r, int c) { return r < 100 || (r == 100 && c < 2) ? g[r * 4 + c] : 0.f; };
    NEAR_I(t, o[t * 4], g[((t + 1) & 127) * 4 + 3], 0);
    NEAR_I(t, o[t * 4 + 1], g[(t ^ 5) * 2 + 1] + g[t ^ 9], 0);
    NEAR_I(t, o[t * 4 + 2], z(t ^ 1, 1) + z(t ^ 1, 2), 0);
    NEAR_I(t, o[t * 4 + 3], g[(127 - (t ^ 2)) * 4], 0);
  }
}

__device__ __noinline__ float through_shared(float v) {  // function-local static shared memory
  __shared__ float buf[64];
  buf[threadIdx.x] = v;
  __syncthreads();
  const float r = buf[(threadIdx.x + 1) & 63];
  __syncthreads();
  return r;
}
template <int P>
__global__ void shared_kinds(const int* index, float* o) {
  extern __shared__ __align__(16) unsigned char raw[];
  __shared__ double pad[P];
  float* dyn = reinterpret_cast<float*>(raw);
  const int t = threadIdx.x;
  pad[t % P] = t;
  dyn[t] = t * 2.0f;
  int local[16];
  for (int i = 0; i < 16; ++i) local[i] = i * t;
  local[index[t] & 15] += 1000;
  __syncthreads();
  float* generic = t & 1 ? dyn : o + 1000;  // generic address: shared or global
  o[t] = through_shared(dyn[63 - t]) + local[index[t + 1] & 15] + (t & 1 ? generic[t ^ 3] : 0.5f);
}
static void test_shared_kinds() {
  Array<int> index(65);
  Array<float> o(2000);
  for (int i = 0; i < 65; ++i) index[i] = i * 7;
  index.up();
  shared_kinds<3><<<1, 64, 64 * 4>>>(index, o);
  LAUNCHED();
  o.down();
  for (int t = 0; t < 64; ++t) {
    int local[16];
    for (int i = 0; i < 16; ++i) local[i] = i * t;
    local[index[t] & 15] += 1000;
    NEAR_I(
        t, o[t],
        (63 - ((t + 1) & 63)) * 2.0f + local[index[t + 1] & 15] + (t & 1 ? (t ^ 3) * 2.0f : 0.5f),
        0);
  }
}

struct Big {
  int a[40];
  double d;
};
__global__ void big_params(Big b, const __grid_constant__ Big c, char tag, short s, int* o) {
  o[threadIdx.x] = b.a[threadIdx.x] + c.a[39 - threadIdx.x] + (int)b.d + tag + s;
}
static void test_params() {
  Array<int> o(40);
  Big b{}, c{};
  for (int i = 0; i < 40; ++i) b.a[i] = i * 3, c.a[i] = i * i;
  b.d = 7.9;
  big_params<<<1, 40>>>(b, c, 'x', -300, o);
  LAUNCHED();
  o.down();
  for (int i = 0; i < 40; ++i) EQUAL_I(i, o[i], i * 3 + (39 - i) * (39 - i) + 7 + 'x' - 300);
}

__global__ void host_memory(const int* pinned, int* managed) {
  managed[threadIdx.x] = pinned[threadIdx.x] * 2;
}
static void test_host_memory() {
  int *p, *m;
  CUDA(cudaMallocHost(&p, 128));
  CUDA(cudaMallocManaged(&m, 128));
  for (int i = 0; i < 32; ++i) p[i] = i;
  host_memory<<<1, 32>>>(p, m);
  LAUNCHED();
  for (int i = 0; i < 32; ++i) EQUAL_I(i, m[i], 2 * i);
  CUDA(cudaFreeHost(p));
  CUDA(cudaFree(m));
}

int main() {
  test_vectors();
  test_symbols();
  test_atomics();
  test_copies();
  test_shared_kinds();
  test_params();
  test_host_memory();
  return finish("memory");
}
