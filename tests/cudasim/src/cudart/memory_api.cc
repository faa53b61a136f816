// Allocation, copies and memsets.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "cudart/state.h"
#include "runtime/fault.h"
#include "runtime/memory.h"
#include "runtime/options.h"

using namespace cudasim;
using namespace cudasim::rt;

void* cudasim_storage(const void* p, size_t size, const char* what) {
  std::string why;
  void* r = resolve(p, size, &why);
  if (!r)
    host_fault("%s: %zu bytes at %p are not valid device memory; %s", what, size, p, why.c_str());
  return r;
}

namespace {

struct Span {
  const void* p;
  size_t size;
};

bool device_side(const void* p) {
  return is_device_address(p) || host_range_kind(p, 1) == kHostManaged;
}

cudaError_t check_span(const char* call, const void* p, size_t size) {
  if (!size) return cudaSuccess;
  if (!p) return cudaErrorInvalidValue;
  std::string why;
  if (resolve(p, size, &why)) return cudaSuccess;
  note("%s: %zu bytes at %p: %s", call, size, p, why.c_str());
  return cudaErrorInvalidValue;
}

cudaError_t check_kind(const void* dst, const void* src, cudaMemcpyKind kind) {
  auto device_ok = [](const void* p) {
    return device_side(p) || host_range_kind(p, 1) != kHostNone;
  };
  switch (kind) {
    case cudaMemcpyDefault:
      return cudaSuccess;
    case cudaMemcpyHostToHost:
      return is_device_address(dst) || is_device_address(src) ? cudaErrorInvalidValue : cudaSuccess;
    case cudaMemcpyHostToDevice:
      return !device_ok(dst) || is_device_address(src) ? cudaErrorInvalidValue : cudaSuccess;
    case cudaMemcpyDeviceToHost:
      return !device_ok(src) || is_device_address(dst) ? cudaErrorInvalidValue : cudaSuccess;
    case cudaMemcpyDeviceToDevice:
      return !device_ok(src) || !device_ok(dst) ? cudaErrorInvalidValue : cudaSuccess;
  }
  return cudaErrorInvalidMemcpyDirection;
}

bool pageable(const void* p) { return !is_device_address(p) && host_range_kind(p, 1) == kHostNone; }

// rows == 1: a linear copy.
cudaError_t copy(const char* call, void* dst, size_t dst_pitch, const void* src, size_t src_pitch,
                 size_t width, size_t rows, cudaMemcpyKind kind, cudaStream_t stream, bool async) {
  if (!width || !rows) return cudaSuccess;
  if (rows > 1 && (dst_pitch < width || src_pitch < width))
    return report(cudaErrorInvalidPitchValue);
  const size_t dst_span = (rows - 1) * dst_pitch + width, src_span = (rows - 1) * src_pitch + width;
  if (cudaError_t e = check_span(call, dst, dst_span)) return report(e);
  if (cudaError_t e = check_span(call, src, src_span)) return report(e);
  if (cudaError_t e = check_kind(dst, src, kind)) {
    note("%s: the pointers do not match the copy kind %d", call, (int)kind);
    return report(e);
  }
  Stream* s = stream_of(stream);
  if (!s) return report(cudaErrorInvalidResourceHandle);
  const bool capturing = s->capture != nullptr;
  if (!async)
    if (cudaError_t e = check_not_capturing(call, false)) return report(e);
  std::shared_ptr<std::vector<uint8_t>> staged;
  if (async && !capturing && pageable(src) &&
      is_device_address(dst)) {  // pageable sources are staged at the call
    staged =
        std::make_shared<std::vector<uint8_t>>((const uint8_t*)src, (const uint8_t*)src + src_span);
  }
  const std::string name = call;
  auto work = [=] {
    auto* d = (uint8_t*)cudasim_storage(dst, dst_span, (name + " destination").c_str());
    auto* q = staged ? staged->data()
                     : (const uint8_t*)cudasim_storage(src, src_span, (name + " source").c_str());
    for (size_t r = 0; r < rows; ++r) memmove(d + r * dst_pitch, q + r * src_pitch, width);
  };
  if (cudaError_t e = submit(s, work, cudaGraphNodeTypeMemcpy)) return report(e);
  // Synchronous copies, and asynchronous ones into pageable host memory, complete before the call
  // returns.
  if (!capturing && (!async || pageable(dst))) return report(synchronize_stream(s));
  return cudaSuccess;
}

cudaError_t set(const char* call, void* p, size_t pitch, int value, size_t width, size_t rows,
                cudaStream_t stream) {
  if (!width || !rows) return cudaSuccess;
  const size_t span = (rows - 1) * pitch + width;
  if (pageable(p)) return report(cudaErrorInvalidValue);
  if (cudaError_t e = check_span(call, p, span)) return report(e);
  const std::string name = call;
  return report(submit(
      stream_of(stream),
      [=] {
        auto* d = (uint8_t*)cudasim_storage(p, span, name.c_str());
        for (size_t r = 0; r < rows; ++r) memset(d + r * pitch, value, width);
      },
      cudaGraphNodeTypeMemset));
}

cudaError_t allocate(void** p, size_t size) {
  if (!p) return report(cudaErrorInvalidValue);
  *p = nullptr;
  if (!size) return cudaSuccess;
  const uint64_t a = device_alloc(size);
  if (!a) return report(cudaErrorMemoryAllocation);
  *p = (void*)a;
  return cudaSuccess;
}

std::mutex host_mutex;
std::map<void*, size_t> host_blocks;  // from cudaMallocHost and cudaMallocManaged

cudaError_t allocate_host(void** p, size_t size, int kind) {
  if (!p) return report(cudaErrorInvalidValue);
  const size_t n = (size + 4095) / 4096 * 4096;
  *p = nullptr;
  if (!size) return cudaSuccess;
  void* m = mmap(nullptr, n + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m == MAP_FAILED) return report(cudaErrorMemoryAllocation);
  mprotect((char*)m + n, 4096, PROT_NONE);
  std::lock_guard<std::mutex> lock(host_mutex);
  host_blocks[m] = n + 4096;
  add_host_range(m, size, kind);
  *p = m;
  return cudaSuccess;
}

bool free_host(void* p) {
  std::lock_guard<std::mutex> lock(host_mutex);
  auto it = host_blocks.find(p);
  if (it == host_blocks.end()) return false;
  remove_host_range(p);
  munmap(p, it->second);
  host_blocks.erase(it);
  return true;
}

cudaError_t symbol_span(const char* call, const void* symbol, size_t offset, size_t count,
                        uint64_t* address) {
  size_t size;
  if (cudaError_t e = find_symbol(symbol, address, &size)) return e;
  if (offset + count > size) {
    note("%s: %zu bytes at offset %zu exceed the symbol's %zu bytes", call, count, offset, size);
    return cudaErrorInvalidValue;
  }
  *address += offset;
  return cudaSuccess;
}

}  // namespace

extern "C" {

// Allocation.
cudaError_t cudaMalloc(void** p, size_t size) {
  if (cudaError_t e = check_not_capturing("cudaMalloc", true)) return report(e);
  return allocate(p, size);
}
cudaError_t cudaMallocPitch(void** p, size_t* pitch, size_t width, size_t height) {
  *pitch = (width + 511) / 512 * 512;
  return allocate(p, *pitch * height);
}
cudaError_t cudaFree(void* p) {
  if (!p) return cudaSuccess;
  if (cudaError_t e = check_not_capturing("cudaFree", true)) return report(e);
  synchronize_device();
  if (free_host(p)) return cudaSuccess;
  if (device_free((uint64_t)p)) return cudaSuccess;
  note("cudaFree: %p is not a live allocation; %s", p, describe_address((uint64_t)p).c_str());
  return report(cudaErrorInvalidValue);
}
cudaError_t cudaMallocAsync(void** p, size_t size, cudaStream_t stream) {
  Stream* s = stream_of(stream);
  if (!s) return report(cudaErrorInvalidResourceHandle);
  if (s->capture) {
    note("memory allocation nodes in graphs are not supported");
    return report(cudaErrorNotSupported);
  }
  return allocate(p, size);
}
cudaError_t cudaMallocFromPoolAsync(void** p, size_t size, cudaMemPool_t, cudaStream_t stream) {
  return cudaMallocAsync(p, size, stream);
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  if (!p) return cudaSuccess;
  Allocation a;
  if (!find_allocation((uint64_t)p, &a) || a.freed || a.address != (uint64_t)p)
    return report(cudaErrorInvalidValue);
  return report(submit(
      stream_of(stream), [p] { device_free((uint64_t)p); }, cudaGraphNodeTypeMemFree));
}
cudaError_t cudaMallocHost(void** p, size_t size) { return allocate_host(p, size, kHostPinned); }
cudaError_t cudaHostAlloc(void** p, size_t size, unsigned) {
  return allocate_host(p, size, kHostPinned);
}
cudaError_t cudaMallocManaged(void** p, size_t size, unsigned) {
  return allocate_host(p, size, kHostManaged);
}
cudaError_t cudaFreeHost(void* p) {
  if (!p) return cudaSuccess;
  synchronize_device();
  return free_host(p) ? cudaSuccess : report(cudaErrorInvalidValue);
}
cudaError_t cudaHostRegister(void* p, size_t size, unsigned) {
  if (!p || !size) return report(cudaErrorInvalidValue);
  if (host_range_kind(p, 1) != kHostNone) return report(cudaErrorHostMemoryAlreadyRegistered);
  add_host_range(p, size, kHostPinned);
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* p) {
  return remove_host_range(p) ? cudaSuccess : report(cudaErrorHostMemoryNotRegistered);
}
cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  if (host_range_kind(host, 1) == kHostNone) return report(cudaErrorInvalidValue);
  *device = host;
  return cudaSuccess;
}
cudaError_t cudaHostGetFlags(unsigned* flags, void*) {
  *flags = cudaHostAllocMapped;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const uint64_t used = device_memory_used();
  if (total) *total = options().memory;
  if (free) *free = options().memory - used;
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* p) {
  memset(a, 0, sizeof *a);
  Allocation al;
  const int kind = host_range_kind(p, 1);
  if (is_device_address(p) && find_allocation((uint64_t)p, &al) && !al.freed) {
    a->type = cudaMemoryTypeDevice;
    a->devicePointer = const_cast<void*>(p);
  } else if (kind != kHostNone) {
    a->type = kind == kHostManaged ? cudaMemoryTypeManaged : cudaMemoryTypeHost;
    a->devicePointer = a->hostPointer = const_cast<void*>(p);
  } else {
    a->type = cudaMemoryTypeUnregistered;
    a->device = -2;
    a->hostPointer = const_cast<void*>(p);
  }
  return cudaSuccess;
}

// Copies.
cudaError_t cudaMemcpy(void* d, const void* s, size_t n, cudaMemcpyKind k) {
  return copy("cudaMemcpy", d, n, s, n, n, 1, k, nullptr, false);
}
cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, cudaMemcpyKind k, cudaStream_t st) {
  return copy("cudaMemcpyAsync", d, n, s, n, n, 1, k, st, true);
}
cudaError_t cudaMemcpy2D(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h,
                         cudaMemcpyKind k) {
  return copy("cudaMemcpy2D", d, dp, s, sp, w, h, k, nullptr, false);
}
cudaError_t cudaMemcpy2DAsync(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h,
                              cudaMemcpyKind k, cudaStream_t st) {
  return copy("cudaMemcpy2DAsync", d, dp, s, sp, w, h, k, st, true);
}
cudaError_t cudaMemcpyPeer(void* d, int, const void* s, int, size_t n) {
  return cudaMemcpy(d, s, n, cudaMemcpyDefault);
}
cudaError_t cudaMemcpyPeerAsync(void* d, int, const void* s, int, size_t n, cudaStream_t st) {
  return cudaMemcpyAsync(d, s, n, cudaMemcpyDefault, st);
}
cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* s, size_t n, size_t offset,
                               cudaMemcpyKind k) {
  uint64_t a;
  if (cudaError_t e = symbol_span("cudaMemcpyToSymbol", symbol, offset, n, &a)) return report(e);
  return cudaMemcpy((void*)a, s, n, k);
}
cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* s, size_t n, size_t offset,
                                    cudaMemcpyKind k, cudaStream_t st) {
  uint64_t a;
  if (cudaError_t e = symbol_span("cudaMemcpyToSymbolAsync", symbol, offset, n, &a))
    return report(e);
  return cudaMemcpyAsync((void*)a, s, n, k, st);
}
cudaError_t cudaMemcpyFromSymbol(void* d, const void* symbol, size_t n, size_t offset,
                                 cudaMemcpyKind k) {
  uint64_t a;
  if (cudaError_t e = symbol_span("cudaMemcpyFromSymbol", symbol, offset, n, &a)) return report(e);
  return cudaMemcpy(d, (void*)a, n, k);
}
cudaError_t cudaMemcpyFromSymbolAsync(void* d, const void* symbol, size_t n, size_t offset,
                                      cudaMemcpyKind k, cudaStream_t st) {
  uint64_t a;
  if (cudaError_t e = symbol_span("cudaMemcpyFromSymbolAsync", symbol, offset, n, &a))
    return report(e);
  return cudaMemcpyAsync(d, (void*)a, n, k, st);
}

// Memset.
cudaError_t cudaMemset(void* p, int v, size_t n) {
  return set("cudaMemset", p, n, v, n, 1, nullptr);
}
cudaError_t cudaMemsetAsync(void* p, int v, size_t n, cudaStream_t st) {
  return set("cudaMemsetAsync", p, n, v, n, 1, st);
}
cudaError_t cudaMemset2D(void* p, size_t pitch, int v, size_t w, size_t h) {
  return set("cudaMemset2D", p, pitch, v, w, h, nullptr);
}
cudaError_t cudaMemset2DAsync(void* p, size_t pitch, int v, size_t w, size_t h, cudaStream_t st) {
  return set("cudaMemset2DAsync", p, pitch, v, w, h, st);
}

cudaError_t cudaMemPrefetchAsync(const void*, size_t, cudaMemLocation, unsigned, cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaMemAdvise(const void*, size_t, cudaMemoryAdvise, cudaMemLocation) {
  return cudaSuccess;
}

// Memory pools: one pool without state.
static int the_pool;
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = (cudaMemPool_t)&the_pool;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* pool, int) {
  *pool = (cudaMemPool_t)&the_pool;
  return cudaSuccess;
}
cudaError_t cudaDeviceSetMemPool(int, cudaMemPool_t) { return cudaSuccess; }
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* value) {
  *(uint64_t*)value = 0;
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }

}  // extern "C"
