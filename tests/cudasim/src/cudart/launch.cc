// Kernel launches, function attributes and occupancy.
#include <algorithm>
#include <cstring>

#include "cudart/state.h"
#include "runtime/block.h"
#include "runtime/fault.h"
#include "runtime/options.h"

using namespace cudasim;
using namespace cudasim::rt;

namespace cudasim::rt {

void KernelCall::run() const {
  LaunchRequest r{function->module,         function->kernel,
                  {grid.x, grid.y, grid.z}, {block.x, block.y, block.z},
                  (uint32_t)dynamic_shared, params->data()};
  run_grid(r);
}

cudaError_t make_call(const void* handle, dim3 grid, dim3 block, void** args, size_t dynamic_shared,
                      KernelCall* call) {
  Function* f;
  if (cudaError_t e = find_function(handle, &f)) return e;
  const KernelInfo& k = *f->kernel;
  const std::string name = demangle(k.name);
  const uint64_t threads = (uint64_t)block.x * block.y * block.z;
  if (!grid.x || !grid.y || !grid.z || !threads || threads > 1024 || block.x > 1024 ||
      block.y > 1024 || block.z > 64 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) {
    note("kernel %s: invalid launch configuration <<<(%u,%u,%u),(%u,%u,%u)>>>", name.c_str(),
         grid.x, grid.y, grid.z, block.x, block.y, block.z);
    return cudaErrorInvalidConfiguration;
  }
  if (k.max_threads && threads > k.max_threads) {
    note("kernel %s: %lu threads per block exceed its launch bounds of %u", name.c_str(),
         (unsigned long)threads, k.max_threads);
    return cudaErrorLaunchOutOfResources;
  }
  const size_t total = dynamic_shared ? k.dynamic_align_offset + dynamic_shared : k.static_shared;
  if (dynamic_shared > (size_t)f->max_dynamic_shared || (!f->opted_in && total > 48 * 1024) ||
      total > options().shared_optin) {
    note("kernel %s: %zu bytes of dynamic (%u static) shared memory; allowed are %d%s",
         name.c_str(), dynamic_shared, k.static_shared,
         std::min<int>(f->max_dynamic_shared, (int)options().shared_optin),
         f->opted_in
             ? ""
             : " without cudaFuncSetAttribute(cudaFuncAttributeMaxDynamicSharedMemorySize)");
    return cudaErrorInvalidValue;
  }
  call->function = f;
  call->grid = grid;
  call->block = block;
  call->dynamic_shared = dynamic_shared;
  call->params = std::make_shared<std::vector<uint8_t>>(k.param_bytes + 16);
  for (uint32_t i = 0; i < k.param_count; ++i) {
    if (!args || !args[i]) return cudaErrorInvalidValue;
    memcpy(call->params->data() + k.param_offsets[i], args[i], k.param_sizes[i]);
  }
  return cudaSuccess;
}

}  // namespace cudasim::rt

namespace {

cudaError_t launch(const void* handle, dim3 grid, dim3 block, void** args, size_t dynamic_shared,
                   cudaStream_t stream) {
  KernelCall call;
  if (cudaError_t e = make_call(handle, grid, block, args, dynamic_shared, &call)) return report(e);
  return report(submit(
      stream_of(stream), [call] { call.run(); }, cudaGraphNodeTypeKernel, &call));
}

struct PendingConfiguration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
thread_local std::vector<PendingConfiguration> tl_pending;

int blocks_per_sm(const Function& f, int block_size, size_t dynamic_shared) {
  const Options& o = options();
  const int cc = o.cc_major * 10 + o.cc_minor;
  const int max_threads = cc == 75 ? 1024 : (cc == 86 || cc == 89) ? 1536 : 2048;
  const int max_blocks = cc == 75 || cc == 86 ? 16 : cc == 89 ? 24 : 32;
  if (block_size <= 0 || block_size > 1024 ||
      (f.kernel->max_threads && block_size > (int)f.kernel->max_threads))
    return 0;
  const size_t total = f.kernel->static_shared + dynamic_shared;
  if (total > o.shared_optin || dynamic_shared > (size_t)f.max_dynamic_shared) return 0;
  const int rounded = (block_size + 31) / 32 * 32;
  const int by_shared = (int)((o.shared_optin + 1024) / (total + 1024));
  return std::min({max_threads / rounded, max_blocks, by_shared});
}

}  // namespace

extern "C" {

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st* stream) {
  tl_pending.push_back({grid, block, shared, (cudaStream_t)stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  if (tl_pending.empty()) return report(cudaErrorUnknown);
  const PendingConfiguration c = tl_pending.back();
  tl_pending.pop_back();
  *grid = c.grid;
  *block = c.block;
  *shared = c.shared;
  *(cudaStream_t*)stream = c.stream;
  return cudaSuccess;
}
cudaError_t cudaLaunchKernel(const void* f, dim3 grid, dim3 block, void** args, size_t shared,
                             cudaStream_t stream) {
  return launch(f, grid, block, args, shared, stream);
}
cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3 grid, dim3 block, void** args, size_t shared,
                               cudaStream_t stream) {
  return launch((const void*)k, grid, block, args, shared, stream);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* f, void** args) {
  if (!config) return report(cudaErrorInvalidValue);
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const cudaLaunchAttribute& a = config->attrs[i];
    if (a.id == cudaLaunchAttributeCooperative && a.val.cooperative) {
      note("cooperative launches are not supported");
      return report(cudaErrorNotSupported);
    }
    if (a.id == cudaLaunchAttributeClusterDimension &&
        (uint64_t)a.val.clusterDim.x * a.val.clusterDim.y * a.val.clusterDim.z > 1) {
      note("thread block clusters are not supported");
      return report(cudaErrorNotSupported);
    }
    // Programmatic dependent launch, priorities and the like have no effect here.
  }
  return launch(f, config->gridDim, config->blockDim, args, config->dynamicSmemBytes,
                config->stream);
}
cudaError_t cudaLaunchCooperativeKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t) {
  note("cooperative launches are not supported");
  return report(cudaErrorNotSupported);
}

cudaError_t cudaFuncSetAttribute(const void* handle, cudaFuncAttribute attribute, int value) {
  Function* f;
  if (cudaError_t e = find_function(handle, &f)) return report(e);
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    if (value < 0 || (uint64_t)value + f->kernel->static_shared > options().shared_optin) {
      note(
          "kernel %s: %d bytes of dynamic shared memory exceed the device limit (%u less %u "
          "static)",
          demangle(f->kernel->name).c_str(), value, options().shared_optin,
          f->kernel->static_shared);
      return report(cudaErrorInvalidValue);
    }
    f->max_dynamic_shared = value;
    f->opted_in = true;
  }
  return cudaSuccess;
}
cudaError_t cudaFuncSetCacheConfig(const void*, cudaFuncCache) { return cudaSuccess; }
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* a, const void* handle) {
  Function* f;
  if (cudaError_t e = find_function(handle, &f)) return report(e);
  memset(a, 0, sizeof *a);
  a->sharedSizeBytes = f->kernel->static_shared;
  a->maxThreadsPerBlock = f->kernel->max_threads ? (int)f->kernel->max_threads : 1024;
  a->numRegs = 32;  // not modelled
  a->ptxVersion = a->binaryVersion = options().cc_major * 10 + options().cc_minor;
  a->maxDynamicSharedSizeBytes = f->max_dynamic_shared;
  a->preferredShmemCarveout = -1;
  return cudaSuccess;
}
cudaError_t cudaFuncGetParamInfo(const void* handle, size_t index, size_t* offset, size_t* size) {
  Function* f;
  if (cudaError_t e = find_function(handle, &f)) return report(e);
  if (index >= f->kernel->param_count) return report(cudaErrorInvalidValue);
  if (offset) *offset = f->kernel->param_offsets[index];
  if (size) *size = f->kernel->param_sizes[index];
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, const void* handle,
                                                                   int block_size, size_t shared,
                                                                   unsigned) {
  Function* f;
  if (cudaError_t e = find_function(handle, &f)) return report(e);
  *n = blocks_per_sm(*f, block_size, shared);
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, const void* handle,
                                                          int block_size, size_t shared) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(n, handle, block_size, shared, 0);
}
cudaError_t cudaOccupancyAvailableDynamicSMemPerBlock(size_t* size, const void* handle, int blocks,
                                                      int) {
  Function* f;
  if (cudaError_t e = find_function(handle, &f)) return report(e);
  const size_t per = (options().shared_optin + 1024) / (size_t)std::max(1, blocks);
  const size_t used = f->kernel->static_shared + 1024;
  *size = per > used ? per - used : 0;
  return cudaSuccess;
}

}  // extern "C"
