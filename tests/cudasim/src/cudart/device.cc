// Device queries and device-wide calls. One device is simulated.
#include <cstdio>
#include <cstring>

#include "cudart/state.h"
#include "runtime/fault.h"
#include "runtime/options.h"

using namespace cudasim;
using namespace cudasim::rt;

namespace {

struct Limits {
  int cc, threads_per_sm, blocks_per_sm;
  size_t shared_per_sm, l2;
};
Limits limits() {
  const Options& o = options();
  const int cc = o.cc_major * 10 + o.cc_minor;
  Limits l{cc, 2048, 32, o.shared_optin + 1024, 40u << 20};
  if (cc == 75) l = {cc, 1024, 16, 64 * 1024, 6u << 20};
  if (cc == 86) l = {cc, 1536, 16, 100 * 1024, 6u << 20};
  if (cc == 89) l = {cc, 1536, 24, 100 * 1024, 72u << 20};
  if (cc >= 90) l.l2 = 50u << 20;
  return l;
}

thread_local int tl_device = 0;

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* n) {
  *n = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* d) {
  *d = tl_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int d) { return d == 0 ? cudaSuccess : report(cudaErrorInvalidDevice); }
cudaError_t cudaInitDevice(int d, unsigned, unsigned) { return cudaSetDevice(d); }
cudaError_t cudaSetDeviceFlags(unsigned) { return cudaSuccess; }
cudaError_t cudaGetDeviceFlags(unsigned* f) {
  *f = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  if (cudaError_t e = check_not_capturing("cudaDeviceSynchronize", true)) return report(e);
  const cudaError_t e = synchronize_device();
  fflush(stdout);  // device printf
  return report(e);
}
cudaError_t cudaDeviceReset() { return report(synchronize_device()); }
cudaError_t cudaDriverGetVersion(int* v) {
  *v = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* v) {
  *v = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaDeviceSetLimit(cudaLimit, size_t) { return cudaSuccess; }
cudaError_t cudaDeviceGetLimit(size_t* v, cudaLimit limit) {
  *v = limit == cudaLimitStackSize        ? options().stack_kb * 1024ull
       : limit == cudaLimitPrintfFifoSize ? 1 << 20
                                          : 8 << 20;
  return cudaSuccess;
}
cudaError_t cudaDeviceSetCacheConfig(cudaFuncCache) { return cudaSuccess; }
cudaError_t cudaDeviceGetCacheConfig(cudaFuncCache* c) {
  *c = cudaFuncCachePreferNone;
  return cudaSuccess;
}
cudaError_t cudaCtxResetPersistingL2Cache() { return cudaSuccess; }
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* id, int n, int) {
  snprintf(id, n, "0000:00:00.0");
  return cudaSuccess;
}
cudaError_t cudaProfilerStart() { return cudaSuccess; }
cudaError_t cudaProfilerStop() { return cudaSuccess; }
cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** f, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* r) {
  *f = nullptr;
  if (r) *r = cudaDriverEntryPointSymbolNotFound;
  return cudaErrorSymbolNotFound;
}
cudaError_t cudaGetDriverEntryPoint(const char* n, void** f, unsigned long long flags,
                                    cudaDriverEntryPointQueryResult* r) {
  return cudaGetDriverEntryPointByVersion(n, f, 0, flags, r);
}

cudaError_t cudaDeviceGetAttribute(int* v, cudaDeviceAttr attribute, int device) {
  if (device != 0) return report(cudaErrorInvalidDevice);
  const Options& o = options();
  const Limits l = limits();
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *v = 1024;
      break;
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY:
      *v = 1024;
      break;
    case cudaDevAttrMaxBlockDimZ:
      *v = 64;
      break;
    case cudaDevAttrMaxGridDimX:
      *v = 0x7fffffff;
      break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      *v = 65535;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *v = 48 * 1024;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *v = (int)o.shared_optin;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *v = (int)l.shared_per_sm;
      break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      *v = 1024;
      break;
    case cudaDevAttrTotalConstantMemory:
      *v = 65536;
      break;
    case cudaDevAttrWarpSize:
      *v = 32;
      break;
    case cudaDevAttrMaxPitch:
      *v = 0x7fffffff;
      break;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      *v = 65536;
      break;
    case cudaDevAttrClockRate:
      *v = 1410000;
      break;
    case cudaDevAttrMemoryClockRate:
      *v = 1593000;
      break;
    case cudaDevAttrGlobalMemoryBusWidth:
      *v = 5120;
      break;
    case cudaDevAttrTextureAlignment:
      *v = 512;
      break;
    case cudaDevAttrMultiProcessorCount:
      *v = o.sm_count;
      break;
    case cudaDevAttrL2CacheSize:
      *v = (int)l.l2;
      break;
    case cudaDevAttrMaxPersistingL2CacheSize:
      *v = (int)(l.l2 * 3 / 4);
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *v = l.threads_per_sm;
      break;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      *v = l.blocks_per_sm;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *v = o.cc_major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *v = o.cc_minor;
      break;
    case cudaDevAttrGpuOverlap:
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrStreamPrioritiesSupported:
    case cudaDevAttrManagedMemory:
    case cudaDevAttrMemoryPoolsSupported:
    case cudaDevAttrHostRegisterSupported:
    case cudaDevAttrGlobalL1CacheSupported:
    case cudaDevAttrLocalL1CacheSupported:
    case cudaDevAttrConcurrentManagedAccess:
      *v = 1;
      break;
    case cudaDevAttrAsyncEngineCount:
      *v = 3;
      break;
    default:
      *v = 0;  // cooperative launch, clusters, peer access and the like
  }
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device != 0) return report(cudaErrorInvalidDevice);
  const Options& o = options();
  const Limits l = limits();
  memset(p, 0, sizeof *p);
  snprintf(p->name, sizeof p->name, "cudasim (compute capability %d.%d)", o.cc_major, o.cc_minor);
  p->totalGlobalMem = o.memory;
  p->sharedMemPerBlock = 48 * 1024;
  p->sharedMemPerBlockOptin = o.shared_optin;
  p->sharedMemPerMultiprocessor = l.shared_per_sm;
  p->reservedSharedMemPerBlock = 1024;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->memPitch = 0x7fffffff;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 0x7fffffff;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->totalConstMem = 65536;
  p->major = o.cc_major;
  p->minor = o.cc_minor;
  p->textureAlignment = 512;
  p->texturePitchAlignment = 32;
  p->multiProcessorCount = o.sm_count;
  p->canMapHostMemory = p->concurrentKernels = p->unifiedAddressing = p->streamPrioritiesSupported =
      1;
  p->globalL1CacheSupported = p->localL1CacheSupported = p->managedMemory =
      p->memoryPoolsSupported = 1;
  p->hostRegisterSupported = p->concurrentManagedAccess = 1;
  p->asyncEngineCount = 3;
  p->memoryBusWidth = 5120;
  p->l2CacheSize = (int)l.l2;
  p->persistingL2CacheMaxSize = (int)(l.l2 * 3 / 4);
  p->maxThreadsPerMultiProcessor = l.threads_per_sm;
  p->maxBlocksPerMultiProcessor = l.blocks_per_sm;
  return cudaSuccess;
}
cudaError_t cudaChooseDevice(int* d, const cudaDeviceProp*) {
  *d = 0;
  return cudaSuccess;
}

}  // extern "C"
