// Programs with one seeded bug each; the selftest requires each to be detected. Bug 0 is correct.
#include <cuda_pipeline.h>

#include <cassert>
#include <string>

#include "check.h"

__global__ void reverse(const float* x, float* o, bool sync) {
  __shared__ float s[128];
  s[threadIdx.x] = x[threadIdx.x];
  if (sync) __syncthreads();
  o[threadIdx.x] = s[127 - threadIdx.x];
}
__global__ void shared_index(float* o, int i) {
  __shared__ float s[64];
  s[threadIdx.x + i] = 1;
  __syncthreads();
  o[threadIdx.x] = s[threadIdx.x];
}
__global__ void global_index(float* o, int i) { o[threadIdx.x + i] = 1; }
__global__ void read_one(const float* p, float* o) { o[0] = *p; }
__global__ void staged(const float* x, float* o, bool wait) {
  __shared__ __align__(16) float s[128];
  __pipeline_memcpy_async(&s[threadIdx.x], x + threadIdx.x, 4);
  __pipeline_commit();
  if (wait) __pipeline_wait_prior(0);
  __syncthreads();
  o[threadIdx.x] = s[127 - threadIdx.x];
}
__global__ void late_wait(const float* x, float* o) {  // waits, but only after reading
  __shared__ __align__(16) float s[128];
  __pipeline_memcpy_async(&s[threadIdx.x], x + threadIdx.x, 4);
  __pipeline_commit();
  __syncthreads();
  o[threadIdx.x] = s[127 - threadIdx.x];
  __pipeline_wait_prior(0);
}
__global__ void divergent(float* o) {
  if (threadIdx.x < 16) {
    o[0] = 1;
    __syncthreads();
    o[2] = 3;
  } else {
    o[1] = 2;
    __syncthreads();
  }
}
__global__ void missing_threads(float* o) {
  if (threadIdx.x < 32) asm volatile("bar.sync 3, 64;");
  o[threadIdx.x] = 1;
}
__global__ void half_warp_shuffle(float* o) {
  if (threadIdx.x < 16)
    o[threadIdx.x] = __shfl_xor_sync(~0u, o[threadIdx.x], 1);
  else {
    __syncwarp(0xffff0000);
    __syncthreads();
  }
}
__global__ void uninitialised(float* o) {
  __shared__ float s[64];
  if (threadIdx.x != 5) s[threadIdx.x] = 1;
  __syncthreads();
  o[threadIdx.x] = s[threadIdx.x];
}
__global__ void misaligned(const float* x, float* o) {
  const float4 v = *reinterpret_cast<const float4*>(x + 1);
  o[0] = v.x + v.y + v.z + v.w;
}
__global__ void unordered_write(float* o) { o[0] = (float)blockIdx.x; }
__global__ void warp_race(float* o) {
  __shared__ float s[32];
  s[threadIdx.x] = threadIdx.x;
  o[threadIdx.x] = s[threadIdx.x ^ 1];
}
__global__ void big_shared(float* o) {
  extern __shared__ float d[];
  d[threadIdx.x] = 1;
  o[threadIdx.x] = d[threadIdx.x];
}
__global__ void asserts(float* o) { assert(o == nullptr); }
__global__ void traps(float*) { asm volatile("trap;"); }
__global__ void unsupported(float* o) {
  __shared__ unsigned long long m;
  asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"((unsigned)__cvta_generic_to_shared(&m)));
  o[0] = 1;
}
__global__ void huge_local(float* o, int n) {
  float big[200000];
  for (int i = 0; i < n; ++i) big[(i * 7919) % 200000] = i;
  float s = 0;
  for (int i = 0; i < n; ++i) s += big[(i * 31) % 200000];
  o[0] = s;
}
__global__ void spins(volatile int* flag, float* o) {
  while (!*flag) {
  }
  o[0] = 1;
}
__global__ void slow_fill(float* o, float v) { o[threadIdx.x] = v; }

int main(int argc, char** argv) {
  const std::string bug = argc > 1 ? argv[1] : "none";
  Array<float> x(128), o(128);
  for (int i = 0; i < 128; ++i) x[i] = i + 1;
  x.up();
  auto compare = [&] {
    LAUNCHED();
    o.down();
    for (int i = 0; i < 128; ++i) NEAR_I(i, o[i], 128 - i, 0);
  };
  if (bug == "none") {
    reverse<<<1, 128>>>(x, o, true);
    compare();
    staged<<<1, 128>>>(x, o, true);
    compare();
  } else if (bug == "missing_sync") {
    reverse<<<1, 128>>>(x, o, false);
    compare();
  } else if (bug == "shared_bounds")
    shared_index<<<1, 64>>>(o, 1);
  else if (bug == "global_bounds")
    global_index<<<1, 64>>>(o, 64 + 1);
  else if (bug == "global_far")
    global_index<<<1, 64>>>(o, 1 << 20);
  else if (bug == "null")
    read_one<<<1, 1>>>(nullptr, o);
  else if (bug == "host_pointer")
    read_one<<<1, 1>>>(x.h.data(), o);
  else if (bug == "use_after_free") {
    float* p;
    CUDA(cudaMalloc(&p, 64));
    CUDA(cudaFree(p));
    read_one<<<1, 1>>>(p, o);
  } else if (bug == "cp_async_no_wait")
    staged<<<1, 128>>>(x, o, false);
  else if (bug == "cp_async_late_wait") {
    late_wait<<<1, 128>>>(x, o);
    compare();
  } else if (bug == "divergent_barrier")
    divergent<<<1, 64>>>(o);
  else if (bug == "barrier_deadlock")
    missing_threads<<<1, 64>>>(o);
  else if (bug == "shuffle_divergence")
    half_warp_shuffle<<<1, 32>>>(o);
  else if (bug == "uninitialised_shared")
    uninitialised<<<1, 64>>>(o);
  else if (bug == "misaligned")
    misaligned<<<1, 1>>>(x, o);
  else if (bug == "block_race")
    unordered_write<<<4, 1>>>(o);
  else if (bug == "warp_race")
    warp_race<<<1, 32>>>(o);
  else if (bug == "over_48k") {
    big_shared<<<1, 128, 60000>>>(o);
    CUDA(cudaGetLastError());
  } else if (bug == "assert")
    asserts<<<1, 32>>>(o);
  else if (bug == "trap")
    traps<<<1, 32>>>(o);
  else if (bug == "unsupported")
    unsupported<<<1, 32>>>(o);
  else if (bug == "local_overflow")
    huge_local<<<1, 2>>>(o, 1000);
  else if (bug == "livelock") {
    CUDA(cudaMemset(o, 0, 4));
    spins<<<1, 32>>>((int*)o.d, x);
  } else if (bug == "host_deref") {
    volatile float* p = o;
    printf("%f\n", p[3]);
  } else if (bug == "missing_stream_sync") {
    cudaStream_t s;
    CUDA(cudaStreamCreate(&s));
    float* h;
    CUDA(cudaMallocHost(&h, 512));
    h[7] = -1;
    slow_fill<<<1, 128, 0, s>>>(o, 5);
    CUDA(cudaMemcpyAsync(h, o.d, 512, cudaMemcpyDeviceToHost, s));
    NEAR(h[7], 5, 0);  // read without cudaStreamSynchronize
    CUDA(cudaStreamSynchronize(s));
    NEAR(h[7], 5, 0);
  } else if (bug == "missing_event_wait") {
    cudaStream_t s, t;
    CUDA(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    CUDA(cudaStreamCreateWithFlags(&t, cudaStreamNonBlocking));
    Array<float> h(128);
    slow_fill<<<1, 128, 0, s>>>(o, 5);
    CUDA(cudaMemcpyAsync(h.d, o.d, 512, cudaMemcpyDeviceToDevice, t));
    CUDA(cudaStreamSynchronize(t));
    CUDA(cudaStreamSynchronize(s));
    NEAR(h.down()[7], 5, 0);
  } else
    return 99;
  LAUNCHED();
  return finish("bugs");
}
