// Fat binary registration: finds the translated module of each translation unit's PTX.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <unordered_map>

#include "cudart/sha256.h"
#include "cudart/state.h"
#include "runtime/fault.h"
#include "runtime/memory.h"
#include "runtime/options.h"

namespace cudasim::rt {

struct FatBinary {
  std::vector<uint8_t> entry;  // chosen fat binary entry (header + payload)
  std::string key;             // hash of the entry's payload
  int ptx_arch = 0, lowest_ptx = 0;
  bool has_code = false;
  const ModuleInfo* module = nullptr;
  cudaError_t load_error = cudaSuccess;
  std::unordered_map<std::string, const KernelInfo*> kernels;
  std::unordered_map<std::string, uint32_t> globals;
  void* handle_storage = nullptr;
};

namespace {

constexpr uint32_t kWrapperMagic = 0x466243b1, kFatbinMagic = 0xba55ed50;
constexpr uint16_t kKindPtx = 1, kKindElf = 2;

struct Wrapper {
  uint32_t magic, version;
  const uint8_t* data;
  void* extra;
};

template <class T>
T read(const uint8_t* p) {
  T v;
  memcpy(&v, p, sizeof v);
  return v;
}

struct Registry {
  std::recursive_mutex mutex;
  std::vector<std::unique_ptr<FatBinary>> binaries;
  std::unordered_map<const void*, std::unique_ptr<Function>> functions;
  std::unordered_map<const void*, Symbol> symbols;
};
Registry& registry() {
  static Registry* r = new Registry;
  return *r;
}

void scan(FatBinary& b, const uint8_t* data) {
  if (read<uint32_t>(data) != kFatbinMagic) return;
  const uint8_t* p = data + read<uint16_t>(data + 6);
  const uint8_t* end = p + read<uint64_t>(data + 8);
  const int device = options().cc_major * 10 + options().cc_minor;
  while (p < end) {
    const uint16_t kind = read<uint16_t>(p);
    const uint32_t header = read<uint32_t>(p + 4);
    const uint64_t padded = read<uint64_t>(p + 8);
    const int arch = (int)read<uint32_t>(p + 28);
    b.has_code = true;
    if (kind == kKindPtx) {
      if (!b.lowest_ptx || arch < b.lowest_ptx) b.lowest_ptx = arch;
      if (arch <= device && arch > b.ptx_arch) {
        b.ptx_arch = arch;
        b.entry.assign(p, p + header + padded);
        b.key = sha256_hex(p + header, padded);
      }
    }
    p += header + padded;
  }
}

std::string module_path(const FatBinary& b) {
  const char* dir = getenv("CUDASIM_MODULES");
  return std::string(dir ? dir : "") + "/" + b.key + "/module.so";
}

// Asks the command-line tool to translate a module that `run` did not see (for example in a
// dlopen'ed library).
void prepare(const FatBinary& b) {
  char path[] = "/tmp/cudasim-entry-XXXXXX";
  const int fd = mkstemp(path);
  if (fd < 0) return;
  if (write(fd, b.entry.data(), b.entry.size()) == (ssize_t)b.entry.size()) {
    const std::string command =
        "LD_LIBRARY_PATH= LD_PRELOAD= '" + options().home + "/run' --prepare-entry '" + path + "'";
    if (system(command.c_str()) != 0) fprintf(stderr, "cudasim: translating a PTX module failed\n");
  }
  close(fd);
  unlink(path);
}

void fill_globals(const ModuleInfo& m) {
  for (uint32_t i = 0; i < m.global_count; ++i) {
    const GlobalInfo& g = m.globals[i];
    const uint64_t address = device_alloc(g.size, g.align > 256 ? g.align : 256, false);
    if (!address) host_fault("no memory for the device variable %s", g.name);
    uint8_t* p = (uint8_t*)(address + kArenaOffset);
    memset(p, 0, g.size);
    if (g.init) memcpy(p, g.init, g.init_size);
    m.global_addresses[i] = address;
  }
  for (uint32_t i = 0; i < m.reloc_count; ++i) {
    const RelocInfo& r = m.relocs[i];
    const uint64_t v =
        ((r.target >= 0 ? m.global_addresses[r.target] : (uint64_t)r.function) + r.addend) >>
        r.shift;
    memcpy((uint8_t*)(m.global_addresses[r.global] + kArenaOffset) + r.offset, &v, r.bytes);
  }
}

cudaError_t load(FatBinary& b) {
  if (b.module || b.load_error != cudaSuccess) return b.load_error;
  if (b.key.empty()) {
    if (b.lowest_ptx)
      note(
          "the program has PTX for compute_%d only, but the simulated device has compute "
          "capability %d.%d (set CUDASIM_CC)",
          b.lowest_ptx, options().cc_major, options().cc_minor);
    else
      note("the program has no PTX; compile with -gencode arch=compute_80,code=compute_80");
    return b.load_error = cudaErrorNoKernelImageForDevice;
  }
  const std::string path = module_path(b);
  if (access(path.c_str(), R_OK) != 0) prepare(b);
  void* so = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!so) {
    note("cannot load the translated module: %s", dlerror());
    return b.load_error = cudaErrorInvalidPtx;
  }
  auto* m = (const ModuleInfo*)dlsym(so, "cudasim_module");
  if (!m || m->abi != kModuleAbi) return b.load_error = cudaErrorInvalidPtx;
  // Two identical translation units share one .so but must not share variables: the first user
  // takes the .so, later users load a private copy.
  if (m->global_count && m->global_addresses[0]) {
    char copy[] = "/tmp/cudasim-module-XXXXXX";
    const int fd = mkstemp(copy);
    std::ifstream in(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    if (fd < 0 || write(fd, bytes.data(), bytes.size()) != (ssize_t)bytes.size())
      return b.load_error = cudaErrorInvalidPtx;
    close(fd);
    so = dlopen(copy, RTLD_NOW | RTLD_LOCAL);
    unlink(copy);
    m = so ? (const ModuleInfo*)dlsym(so, "cudasim_module") : nullptr;
    if (!m) return b.load_error = cudaErrorInvalidPtx;
  }
  fill_globals(*m);
  for (uint32_t i = 0; i < m->kernel_count; ++i) b.kernels[m->kernels[i].name] = &m->kernels[i];
  for (uint32_t i = 0; i < m->global_count; ++i) b.globals[m->globals[i].name] = i;
  b.module = m;
  return cudaSuccess;
}

}  // namespace

cudaError_t find_function(const void* handle, Function** out) {
  Registry& r = registry();
  std::lock_guard<std::recursive_mutex> lock(r.mutex);
  auto it = r.functions.find(handle);
  if (it == r.functions.end()) return cudaErrorInvalidDeviceFunction;
  Function& f = *it->second;
  if (!f.kernel) {
    if (cudaError_t e = load(*f.binary)) return e;
    auto k = f.binary->kernels.find(f.name);
    if (k == f.binary->kernels.end()) return cudaErrorInvalidDeviceFunction;
    f.kernel = k->second;
    f.module = f.binary->module;
  }
  *out = &f;
  return cudaSuccess;
}

cudaError_t find_symbol(const void* host, uint64_t* address, size_t* size) {
  Registry& r = registry();
  std::lock_guard<std::recursive_mutex> lock(r.mutex);
  auto it = r.symbols.find(host);
  if (it == r.symbols.end()) return cudaErrorInvalidSymbol;
  if (cudaError_t e = load(*it->second.binary)) return e;
  auto g = it->second.binary->globals.find(it->second.name);
  if (g == it->second.binary->globals.end()) {
    note("the device variable %s is not in the PTX (unused and removed by the compiler?)",
         it->second.name.c_str());
    return cudaErrorInvalidSymbol;
  }
  *address = it->second.binary->module->global_addresses[g->second];
  *size = it->second.size;
  return cudaSuccess;
}

}  // namespace cudasim::rt

using namespace cudasim;
using namespace cudasim::rt;

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  install_signal_handler();
  Registry& r = registry();
  std::lock_guard<std::recursive_mutex> lock(r.mutex);
  r.binaries.push_back(std::make_unique<FatBinary>());
  FatBinary& b = *r.binaries.back();
  auto* w = (const Wrapper*)wrapper;
  if (w->magic == kWrapperMagic) scan(b, w->data);
  b.handle_storage = &b;
  return &b.handle_storage;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }

void __cudaRegisterFunction(void** handle, const char* host, char*, const char* name, int, uint3*,
                            uint3*, dim3*, dim3*, int*) {
  Registry& r = registry();
  std::lock_guard<std::recursive_mutex> lock(r.mutex);
  auto f = std::make_unique<Function>();
  f->binary = (FatBinary*)*handle;
  f->name = name;
  r.functions[host] = std::move(f);
}
void __cudaRegisterVar(void** handle, char* host, char*, const char* name, int, size_t size,
                       int constant, int) {
  Registry& r = registry();
  std::lock_guard<std::recursive_mutex> lock(r.mutex);
  r.symbols[host] = Symbol{(FatBinary*)*handle, name, size, constant != 0};
}
void __cudaRegisterManagedVar(void**, void**, char*, const char* name, int, size_t, int, int) {
  host_fault("__managed__ variables are not supported (%s)", name);
}
void __cudaRegisterHostVar(void**, const char*, char*, size_t) {}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  *kernel = (cudaKernel_t)host;  // the host stub address serves as the handle
  return cudaSuccess;
}
cudaError_t cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  return __cudaGetKernel(kernel, host);
}
cudaError_t cudaGetFuncBySymbol(cudaFunction_t* f, const void* host) {
  Function* fn;
  if (cudaError_t e = find_function(host, &fn)) return report(e);
  *f = (cudaFunction_t)host;
  return cudaSuccess;
}
cudaError_t cudaFuncGetName(const char** name, const void* host) {
  Function* fn;
  if (cudaError_t e = find_function(host, &fn)) return report(e);
  *name = fn->name.c_str();
  return cudaSuccess;
}
cudaError_t cudaGetSymbolAddress(void** p, const void* symbol) {
  uint64_t a;
  size_t n;
  if (cudaError_t e = find_symbol(symbol, &a, &n)) return report(e);
  *p = (void*)a;
  return cudaSuccess;
}
cudaError_t cudaGetSymbolSize(size_t* size, const void* symbol) {
  uint64_t a;
  if (cudaError_t e = find_symbol(symbol, &a, size)) return report(e);
  return cudaSuccess;
}

}  // extern "C"
