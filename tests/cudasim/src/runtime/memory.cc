#include "runtime/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "runtime/options.h"
#include "runtime/race.h"

namespace cudasim {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kPoisonChunk = 64ull << 20;

struct HostRange {
  uint64_t begin, size;
  int kind;
};

struct State {
  std::mutex mutex;
  std::map<uint64_t, Allocation> live, freed;
  std::map<uint64_t, HostRange> host;
  uint64_t next = kArenaBase + (1ull << 30), used = 0, next_id = 1, version = 1;
  int poison_fd = -1;
  State() {
    // Reserve the addresses the program sees; nothing is ever mapped readable there.
    void* p = mmap((void*)kArenaBase, kArenaSize, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    void* q = mmap((void*)(kArenaBase + kArenaOffset), kArenaSize, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != (void*)kArenaBase || q != (void*)(kArenaBase + kArenaOffset)) {
      fprintf(stderr, "cudasim: cannot reserve the device address range (is RLIMIT_AS set?)\n");
      abort();
    }
  }
};

State& state() {
  static State* s = new State;  // never destroyed: used by exit-time handlers
  return *s;
}

std::vector<Allocation> g_snapshot;
uint64_t g_snapshot_version = 0;

// Large allocations are backed by a private mapping of one 0xff-filled file, so that poison costs
// no memory until it is overwritten.
bool map_poisoned(State& s, uint64_t storage, uint64_t size) {
  if (s.poison_fd < 0) {
    s.poison_fd = memfd_create("cudasim-poison", MFD_CLOEXEC);
    if (s.poison_fd < 0 || ftruncate(s.poison_fd, kPoisonChunk)) return false;
    void* m = mmap(nullptr, kPoisonChunk, PROT_READ | PROT_WRITE, MAP_SHARED, s.poison_fd, 0);
    if (m == MAP_FAILED) return false;
    memset(m, 0xff, kPoisonChunk);
    munmap(m, kPoisonChunk);
  }
  for (uint64_t o = 0; o < size; o += kPoisonChunk) {
    void* r = mmap((void*)(storage + o), std::min(kPoisonChunk, size - o), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, s.poison_fd, 0);
    if (r == MAP_FAILED) return false;
  }
  return true;
}

}  // namespace

uint64_t device_alloc(uint64_t size, uint64_t align, bool counts) {
  State& s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  if (size == 0) size = 1;
  if (counts && (size > options().memory || s.used + size > options().memory)) return 0;
  const uint64_t rounded = (size + align - 1) / align * align;
  const uint64_t mapped = (rounded + kPage - 1) / kPage * kPage;
  if (s.next + mapped + 2 * kPage > kArenaBase + kArenaSize) return 0;
  // The allocation ends (up to its 256-byte granularity) at an inaccessible page.
  const uint64_t begin = s.next, address = begin + mapped - rounded;
  const uint64_t storage = begin + kArenaOffset;
  if (options().poison && size > kPoisonChunk) {
    if (!map_poisoned(s, storage, mapped)) return 0;
  } else {
    void* r = mmap((void*)storage, mapped, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r == MAP_FAILED) return 0;
    if (options().poison) memset((void*)storage, 0xff, mapped);
  }
  s.next = begin + mapped + kPage;
  s.live[address] = Allocation{address, size, begin, mapped, s.next_id++, false};
  if (counts) s.used += rounded;
  ++s.version;
  return address;
}

bool device_free(uint64_t address) {
  State& s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  auto it = s.live.find(address);
  if (it == s.live.end()) return false;
  Allocation a = it->second;
  // Addresses are never reused, so use after free always traps.
  mmap((void*)(a.mapped_begin + kArenaOffset), a.mapped_size, PROT_NONE,
       MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  a.freed = true;
  s.used -= (a.size + 255) / 256 * 256;
  s.live.erase(it);
  if (s.freed.size() > 20000) s.freed.erase(s.freed.begin());
  s.freed[address] = a;
  ++s.version;
  return true;
}

uint64_t device_memory_used() {
  State& s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  return s.used;
}

bool find_allocation(uint64_t address, Allocation* out) {
  State& s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  for (auto* m : {&s.live, &s.freed}) {
    auto it = m->upper_bound(address);
    if (it == m->begin()) continue;
    --it;
    if (address < it->second.address + it->second.size) {
      *out = it->second;
      return true;
    }
  }
  return false;
}

bool in_arena(uint64_t a) { return a - kArenaBase < kArenaSize; }
bool in_storage(uint64_t a) { return a - (kArenaBase + kArenaOffset) < kArenaSize; }
bool is_device_address(const void* p) { return in_arena((uint64_t)p); }

void add_host_range(const void* p, size_t size, int kind) {
  State& s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  s.host[(uint64_t)p] = HostRange{(uint64_t)p, size, kind};
}

bool remove_host_range(const void* p) {
  State& s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  return s.host.erase((uint64_t)p) != 0;
}

int host_range_kind(const void* p, size_t size) {
  State& s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  auto it = s.host.upper_bound((uint64_t)p);
  if (it == s.host.begin()) return kHostNone;
  --it;
  return (uint64_t)p + size <= it->second.begin + it->second.size ? it->second.kind : kHostNone;
}

std::string describe_address(uint64_t address) {
  State& s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  char text[256];
  if (address < kPage) return "the address is a null pointer (plus offset)";
  const Allocation* best = nullptr;
  uint64_t distance = ~0ull;
  auto consider = [&](const Allocation& a) {
    uint64_t d = address < a.address            ? a.address - address
                 : address < a.address + a.size ? 0
                                                : address - (a.address + a.size) + 1;
    if (d < distance || (d == distance && best && best->freed)) distance = d, best = &a;
  };
  for (auto* m : {&s.live, &s.freed}) {
    auto it = m->upper_bound(address);
    if (it != m->end()) consider(it->second);
    if (it != m->begin()) consider((--it)->second);
  }
  if (!in_arena(address)) {
    snprintf(text, sizeof text,
             "the address is not device memory (host pointer passed to a kernel?)");
  } else if (!best || distance > (1ull << 30)) {
    snprintf(text, sizeof text, "no device allocation is near this address");
  } else if (distance == 0) {
    snprintf(text, sizeof text, "%s allocation #%lu [%#lx, +%lu bytes), offset %lu",
             best->freed ? "use after free of" : "inside", (unsigned long)best->id,
             (unsigned long)best->address, (unsigned long)best->size,
             (unsigned long)(address - best->address));
  } else {
    const bool after = address >= best->address;
    snprintf(text, sizeof text, "%lu bytes %s %sallocation #%lu [%#lx, +%lu bytes)",
             (unsigned long)(after ? distance - 1 : distance), after ? "past the end of" : "before",
             best->freed ? "freed " : "", (unsigned long)best->id, (unsigned long)best->address,
             (unsigned long)best->size);
  }
  return text;
}

void* resolve(const void* p, size_t size, std::string* why) {
  const uint64_t a = (uint64_t)p;
  if (!in_arena(a)) return const_cast<void*>(p);
  if (size == 0) return (void*)(a + kArenaOffset);
  Allocation al;
  if (!find_allocation(a, &al) || al.freed || a + size > al.address + al.size) {
    if (why) *why = describe_address(al.freed || !size ? a : a + size - 1);
    return nullptr;
  }
  return (void*)(a + kArenaOffset);
}

void refresh_allocation_snapshot() {
  State& s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  if (g_snapshot_version == s.version) return;
  g_snapshot.clear();
  for (auto& k : s.live) g_snapshot.push_back(k.second);
  g_snapshot_version = s.version;
}

namespace {

bool in_live_allocation(uint64_t a, unsigned size) {
  static thread_local Allocation last{};
  static thread_local uint64_t last_version = 0;
  if (last_version == g_snapshot_version && a >= last.address &&
      a + size <= last.address + last.size)
    return true;
  auto it = std::upper_bound(g_snapshot.begin(), g_snapshot.end(), a,
                             [](uint64_t x, const Allocation& y) { return x < y.address; });
  if (it == g_snapshot.begin()) return false;
  --it;
  if (a + size > it->address + it->size) return false;
  last = *it;
  last_version = g_snapshot_version;
  return true;
}

const char* verb(int mode) {
  return (mode & 3) == kWrite ? "store" : (mode & 3) == kAtomic ? "atomic" : "load";
}

}  // namespace

uint8_t* access_shared_slow(Thread* t, uint64_t offset, unsigned size, unsigned align, int mode) {
  if (offset % align)
    fault(t, "misaligned shared %s of %u bytes at shared offset %lu", verb(mode), size,
          (unsigned long)offset);
  if (offset + size > t->block->shared_size || offset + size < offset)
    fault(
        t,
        "shared %s out of bounds: %u bytes at offset %ld, the block has %u bytes of shared memory",
        verb(mode), size, (long)(int64_t)offset, t->block->shared_size);
  uint8_t* p = t->shared + offset;
  if (options().check && options().init_check) {
    uint8_t* valid = shared_valid_map(t);
    if ((mode & 3) == kRead || (mode & 3) == kAtomic) {
      for (unsigned i = 0; i < size; ++i)
        if (!valid[offset + i])
          fault(t, "read of uninitialised shared memory: %u bytes at shared offset %lu", size,
                (unsigned long)offset);
    } else {
      memset(valid + offset, 1, size);
    }
  }
  if (options().race) race_access(t, kSharedWindow + offset, size, mode);
  return p;
}

uint8_t* access_slow(Thread* t, uint64_t a, unsigned size, unsigned align, int mode) {
  if (a - kSharedWindow < kSharedWindowSize)
    return access_shared_slow(t, a - kSharedWindow, size, align, mode);
  if (a % align)
    fault(t, "misaligned global %s of %u bytes at %#lx", verb(mode), size, (unsigned long)a);
  if (in_arena(a)) {
    if (options().check && !in_live_allocation(a, size))
      fault(t, "global %s out of bounds: %u bytes at %#lx; %s", verb(mode), size, (unsigned long)a,
            describe_address(in_live_allocation(a, 1) ? a + size - 1 : a).c_str());
    if (options().race) race_access(t, a, size, mode);
    return (uint8_t*)(a + kArenaOffset);
  }
  if (a >= t->stack_lo && a + size <= t->stack_hi) return (uint8_t*)a;
  const uint64_t params = (uint64_t)t->params;
  if (a >= params && a + size <= params + t->block->kernel->param_bytes && mode == kRead)
    return (uint8_t*)a;
  if (host_range_kind((void*)a, size) != kHostNone) {
    if (options().race) race_access(t, a, size, mode);
    return (uint8_t*)a;
  }
  fault(t, "illegal address: global %s of %u bytes at %#lx; %s", verb(mode), size, (unsigned long)a,
        describe_address(a).c_str());
}

}  // namespace cudasim
