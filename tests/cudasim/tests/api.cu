// Runtime API: devices, memory, streams, events, graphs, errors.
#include <atomic>
#include <string>
#include <thread>

#include "check.h"

__global__ void fill(int* o, int v, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) o[i] = v;
}
__global__ void add(int* o, const int* a, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) o[i] += a[i];
}
__global__ void dynamic_shared(float* o, int n) {
  extern __shared__ float s[];
  for (int i = threadIdx.x; i < n; i += blockDim.x) s[i] = i;
  __syncthreads();
  o[threadIdx.x] = s[n - 1 - threadIdx.x];
}
__global__ void __launch_bounds__(64) bounded(int* o) { o[threadIdx.x] = 1; }
__global__ void isnan_all(const float* x, int n, int* o) {
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    if (!(x[i] != x[i])) atomicAdd(o, 1);
}

static void test_device() {
  cudaDeviceProp p;
  int n, v;
  CUDA(cudaGetDeviceCount(&n));
  EQUAL(n, 1);
  CUDA(cudaGetDeviceProperties(&p, 0));
  CHECK(p.warpSize == 32 && p.multiProcessorCount > 0 && p.sharedMemPerBlockOptin >= 64 * 1024);
  CUDA(cudaDeviceGetAttribute(&v, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
  EQUAL(v, p.sharedMemPerBlockOptin);
  CHECK(cudaSetDevice(1) == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(std::string(cudaGetErrorString(cudaErrorMemoryAllocation)) == "out of memory");
  CHECK(std::string(cudaGetErrorName(cudaErrorInvalidValue)) == "cudaErrorInvalidValue");
  cudaFuncAttributes fa;
  CUDA(cudaFuncGetAttributes(&fa, bounded));
  EQUAL(fa.maxThreadsPerBlock, 64);
  int blocks;
  CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, fill, 256, 0));
  CHECK(blocks > 0);
  int grid, block;
  CUDA(cudaOccupancyMaxPotentialBlockSize(&grid, &block, fill, 0, 0));
  CHECK(grid > 0 && block >= 32);
}

static void test_memory() {
  size_t f0, t0, f1, t1;
  CUDA(cudaMemGetInfo(&f0, &t0));
  void* p;
  CUDA(cudaMalloc(&p, 1 << 20));
  CUDA(cudaMemGetInfo(&f1, &t1));
  EQUAL(f0 - f1, 1 << 20);
  EQUAL(t0, t1);
  Array<int> bad(1);
  isnan_all<<<1, 64>>>((float*)p, (1 << 20) / 4, bad);
  LAUNCHED();
  EQUAL(bad.down()[0], 0);  // fresh memory is poisoned
  CUDA(cudaFree(p));
  CHECK(cudaFree(p) == cudaErrorInvalidValue);
  cudaGetLastError();
  CHECK(cudaMalloc(&p, t0 + 1) == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  Array<int> a(100);
  CHECK(cudaMemcpy(a.d, a.h.data(), 404, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(a.d, a.h.data(), 400, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaMemset(a.d + 50, 0, 204) == cudaErrorInvalidValue);
  cudaGetLastError();
  int *src, *dst;
  CUDA(cudaMalloc(&src, 64 * 8 * 4));
  CUDA(cudaMalloc(&dst, 64 * 8 * 4));
  std::vector<int> h(64 * 8);
  for (int i = 0; i < 512; ++i) h[i] = i;
  CUDA(cudaMemcpy(src, h.data(), 2048, cudaMemcpyHostToDevice));
  CUDA(cudaMemset(dst, 0, 2048));
  CUDA(cudaMemcpy2D(dst, 64 * 4, src + 8, 64 * 4, 10 * 4, 4, cudaMemcpyDeviceToDevice));
  CUDA(cudaMemcpy(h.data(), dst, 2048, cudaMemcpyDeviceToHost));
  for (int r = 0; r < 8; ++r)
    for (int c = 0; c < 64; ++c)
      EQUAL_I(r * 64 + c, h[r * 64 + c], r < 4 && c < 10 ? r * 64 + c + 8 : 0);
  CUDA(cudaMemset2D(dst, 256, 1, 8, 2));
  CUDA(cudaMemcpy(h.data(), dst, 2048, cudaMemcpyDeviceToHost));
  EQUAL(h[65], 0x01010101);
  EQUAL(h[66], 74);
  cudaPointerAttributes at;
  CUDA(cudaPointerGetAttributes(&at, src));
  EQUAL(at.type, cudaMemoryTypeDevice);
  CUDA(cudaPointerGetAttributes(&at, h.data()));
  EQUAL(at.type, cudaMemoryTypeUnregistered);
  CUDA(cudaHostRegister(h.data(), 2048, 0));
  CUDA(cudaPointerGetAttributes(&at, h.data()));
  EQUAL(at.type, cudaMemoryTypeHost);
  CUDA(cudaHostUnregister(h.data()));
  void* q;
  CUDA(cudaMallocAsync(&q, 4096, nullptr));
  CUDA(cudaMemsetAsync(q, 0, 4096, nullptr));
  CUDA(cudaFreeAsync(q, nullptr));
  CUDA(cudaDeviceSynchronize());
  CUDA(cudaFree(src));
  CUDA(cudaFree(dst));
}

static void test_launch_errors() {
  Array<int> o(2048);
  Array<float> f(64);
  fill<<<1, 2000>>>(o, 1, 1);
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaSuccess);
  fill<<<0, 32>>>(o, 1, 1);
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  fill<<<dim3(1, 70000), 32>>>(o, 1, 1);
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  bounded<<<1, 128>>>(o);
  CHECK(cudaGetLastError() != cudaSuccess);
  dynamic_shared<<<1, 64, 50000>>>(f, 12500);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);  // no opt-in
  CHECK(cudaFuncSetAttribute(dynamic_shared, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             300 * 1024) == cudaErrorInvalidValue);
  cudaGetLastError();
  CUDA(cudaFuncSetAttribute(dynamic_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, 50000));
  dynamic_shared<<<1, 64, 50000>>>(f, 12500);
  LAUNCHED();
  NEAR(f.down()[3], 12496, 0);
  dynamic_shared<<<1, 64, 50004>>>(f, 12500);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaLaunchCooperativeKernel((void*)bounded, dim3(1), dim3(32), nullptr, 0, nullptr) ==
        cudaErrorNotSupported);
  cudaGetLastError();
  cudaLaunchConfig_t c{};
  c.gridDim = 1;
  c.blockDim = 64;
  cudaLaunchAttribute a[1];
  a[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  a[0].val.programmaticStreamSerializationAllowed = 1;
  c.attrs = a;
  c.numAttrs = 1;
  CUDA(cudaLaunchKernelEx(&c, bounded, (int*)o));
  LAUNCHED();
  EQUAL(o.down()[63], 1);
}

static void test_streams() {
  constexpr int N = 1000;
  Array<int> a(N), b(N);
  cudaStream_t s, t;
  cudaEvent_t e, x, y;
  CUDA(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
  CUDA(cudaStreamCreateWithPriority(&t, cudaStreamDefault, -1));
  CUDA(cudaEventCreate(&x));
  CUDA(cudaEventCreate(&y));
  CUDA(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
  CUDA(cudaEventRecord(x, s));
  fill<<<4, 256, 0, s>>>(a, 5, N);
  CUDA(cudaEventRecord(e, s));
  CUDA(cudaStreamWaitEvent(t, e, 0));
  CUDA(cudaMemsetAsync(b.d, 0, N * 4, t));
  add<<<4, 256, 0, t>>>(b, a, N);
  CUDA(cudaEventRecord(e, t));
  CUDA(cudaStreamWaitEvent(s, e, 0));
  add<<<4, 256, 0, s>>>(a, b, N);
  CUDA(cudaEventRecord(y, s));
  static std::atomic<int> called{0};
  CUDA(cudaLaunchHostFunc(
      s, [](void* p) { called += *(int*)p; }, new int(3)));
  int* pinned;
  CUDA(cudaMallocHost(&pinned, N * 4));
  CUDA(cudaMemcpyAsync(pinned, a.d, N * 4, cudaMemcpyDeviceToHost, s));
  CUDA(cudaStreamSynchronize(s));
  EQUAL(pinned[N - 1], 10);
  EQUAL(called.load(), 3);
  CHECK(cudaStreamQuery(s) == cudaSuccess);
  float ms = -1;
  CUDA(cudaEventElapsedTime(&ms, x, y));
  CHECK(ms >= 0);
  CUDA(cudaEventSynchronize(y));
  CHECK(cudaEventQuery(y) == cudaSuccess);
  CUDA(cudaStreamDestroy(s));
  CUDA(cudaStreamDestroy(t));
  CHECK(cudaStreamSynchronize(s) == cudaErrorInvalidResourceHandle);
  cudaGetLastError();
  CUDA(cudaFreeHost(pinned));
  std::thread other([&] {
    cudaStream_t u;
    CUDA(cudaStreamCreate(&u));
    for (int i = 0; i < 20; ++i) fill<<<1, 32, 0, u>>>(a, i, 32);
    CUDA(cudaStreamSynchronize(u));
    CUDA(cudaStreamDestroy(u));
  });
  for (int i = 0; i < 20; ++i) fill<<<1, 32>>>(b, i, 32);
  other.join();
  LAUNCHED();
  EQUAL(a.down()[31], 19);
  EQUAL(b.down()[31], 19);
}

static void test_graphs() {
  constexpr int N = 512;
  Array<int> a(N), b(N), c(N);
  int* pinned;
  CUDA(cudaMallocHost(&pinned, 8));
  static int host_calls = 0;
  cudaStream_t s, t;
  cudaEvent_t fork, join;
  CUDA(cudaStreamCreate(&s));
  CUDA(cudaStreamCreate(&t));
  CUDA(cudaEventCreate(&fork));
  CUDA(cudaEventCreate(&join));
  auto capture = [&](int value) {
    cudaGraph_t g;
    CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
    int v = value;  // arguments are copied at capture
    fill<<<2, 256, 0, s>>>(a, v, N);
    v = -1;
    CUDA(cudaEventRecord(fork, s));
    CUDA(cudaStreamWaitEvent(t, fork, 0));
    CUDA(cudaMemsetAsync(b.d, 0, N * 4, t));
    CUDA(cudaEventRecord(join, t));
    CUDA(cudaStreamWaitEvent(s, join, 0));
    add<<<2, 256, 0, s>>>(b, a, N);
    CUDA(cudaMemcpyAsync(c.d, b.d, N * 4, cudaMemcpyDeviceToDevice, s));
    CUDA(cudaMemcpyAsync(pinned, c.d + 5, 4, cudaMemcpyDeviceToHost, s));
    CUDA(cudaLaunchHostFunc(
        s, [](void*) { ++host_calls; }, nullptr));
    CUDA(cudaStreamEndCapture(s, &g));
    return g;
  };
  cudaGraph_t g = capture(7);
  cudaGraphExec_t e;
  size_t n = 0;
  CUDA(cudaGraphGetNodes(g, nullptr, &n));
  EQUAL(n, 6);
  CUDA(cudaGraphInstantiate(&e, g, 0));
  EQUAL(host_calls, 0);
  EQUAL(a.down()[0], 0);  // nothing ran during capture
  for (int i = 0; i < 3; ++i) CUDA(cudaGraphLaunch(e, s));
  CUDA(cudaStreamSynchronize(s));
  EQUAL(c.down()[100], 7);
  EQUAL(host_calls, 3);
  EQUAL(*pinned, 7);
  cudaGraph_t g2 = capture(11);
  cudaGraphExecUpdateResultInfo info;
  CUDA(cudaGraphExecUpdate(e, g2, &info));
  CUDA(cudaGraphLaunch(e, s));
  CUDA(cudaStreamSynchronize(s));
  EQUAL(c.down()[100], 11);
  CUDA(cudaGraphDestroy(g));
  CUDA(cudaGraphDestroy(g2));
  CUDA(cudaGraphExecDestroy(e));
  // illegal calls during capture invalidate it
  CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
  CHECK(cudaStreamSynchronize(s) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamEndCapture(s, &g) == cudaErrorStreamCaptureInvalidated);
  CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
  void* p;
  CHECK(cudaMalloc(&p, 64) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamEndCapture(s, &g) != cudaSuccess);
  CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
  fill<<<1, 32>>>(a, 1, 1);
  CHECK(cudaGetLastError() == cudaErrorStreamCaptureImplicit);
  CHECK(cudaStreamEndCapture(s, &g) != cudaSuccess);
  CUDA(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
  CUDA(cudaEventRecord(fork, s));
  CUDA(cudaStreamWaitEvent(t, fork, 0));
  fill<<<1, 32, 0, t>>>(a, 1, 1);
  CHECK(cudaStreamEndCapture(s, &g) == cudaErrorStreamCaptureUnjoined);
  cudaGetLastError();
  CUDA(cudaStreamDestroy(s));
  CUDA(cudaStreamDestroy(t));
  CUDA(cudaFreeHost(pinned));
}

int main() {
  test_device();
  test_memory();
  test_launch_errors();
  test_streams();
  test_graphs();
  return finish("api");
}
