// Happens-before race detector. Ordering edges: block barriers, warp collectives (for the lanes
// that took part), and atomics or volatile accesses to a common address (treated as acquire +
// release).
#include "runtime/race.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "runtime/fault.h"
#include "runtime/memory.h"
#include "runtime/options.h"

namespace cudasim {
namespace {

struct Record {
  uint32_t launch = 0, block = 0, barrier = 0, clock = 0, site = 0;
  uint16_t thread = 0;
  bool atomic = false, used = false;
};
struct Cell {
  Record write, read0, read1;
};
using Page = std::array<Cell, 256>;

using Knowledge = std::unordered_map<uint32_t, uint32_t>;  // who -> clock known to have happened

struct Sync {
  uint32_t launch = 0, block = ~0u;
  Knowledge blocks;   // block -> barrier epoch
  Knowledge threads;  // thread of `block` -> clock
};

uint32_t g_launch = 0, g_block = 0, g_barrier = 0;
std::unordered_map<uint64_t, std::unique_ptr<Page>> g_shadow;
uint64_t g_last_key = ~0ull;
Page* g_last_page = nullptr;
std::vector<uint32_t> g_clock;                       // per thread of the running block
std::vector<std::array<uint32_t, 32>> g_lane_known;  // [thread][lane of its warp]
std::vector<Knowledge> g_thread_known;
Knowledge g_block_known;
std::unordered_map<uint64_t, Sync> g_sync;
std::set<std::pair<uint32_t, uint32_t>> g_seen;
unsigned g_reports = 0;

Cell& cell(uint64_t a) {
  const uint64_t key = a >> 8;
  if (key != g_last_key) {
    auto& p = g_shadow[key];
    if (!p) p = std::make_unique<Page>();
    g_last_key = key;
    g_last_page = p.get();
  }
  return (*g_last_page)[a & 255];
}

bool ordered(const Record& r, uint32_t thread, bool shared) {
  if (!r.used || r.launch != g_launch) return true;
  if (r.block != g_block) {
    if (shared) return true;
    auto it = g_block_known.find(r.block);
    return it != g_block_known.end() && it->second >= r.barrier;
  }
  if (r.thread == thread || r.barrier < g_barrier) return true;
  if (r.thread / 32 == thread / 32 && r.clock < g_lane_known[thread][r.thread % 32]) return true;
  auto& known = g_thread_known[thread];
  auto it = known.find(r.thread);
  return it != known.end() && r.clock < it->second;
}

// A plain load that races with an atomic is the normal start of a compare-and-swap loop. It is
// reported only if the thread does not go on to an atomic on that address.
struct Doubtful {
  uint32_t thread;
  uint64_t address;
  std::pair<uint32_t, uint32_t> sites;
  std::string text;
};
std::vector<Doubtful> g_doubtful;

void print(std::pair<uint32_t, uint32_t> sites, const std::string& text) {
  if (!g_seen.insert(sites).second) return;
  if (!g_reports++)
    atexit([] {  // a program that raced does not succeed
      fprintf(stderr, "cudasim: %u race%s reported\n", g_reports, g_reports == 1 ? "" : "s");
      exit_with_fault();
    });
  fputs(text.c_str(), stderr);
}

void report(Thread* t, const char* what, uint64_t address, const Record& other, bool doubtful) {
  const std::pair<uint32_t, uint32_t> sites{t->site, other.site};
  if (g_seen.count(sites)) return;
  if (doubtful)
    for (const Doubtful& d : g_doubtful)
      if (d.thread == t->linear && d.sites == sites) return;
  std::string here = describe_site(t->block->module, t->site),
              there = describe_site(t->block->module, other.site);
  const bool shared = address - kSharedWindow < kSharedWindowSize;
  char head[256];
  snprintf(head, sizeof head, " on %s memory at %#lx: block %u thread %u at ",
           shared ? "shared" : "global",
           (unsigned long)(shared ? address - kSharedWindow : address), g_block, t->linear);
  const std::string text = std::string("cudasim: RACE (") + what + ") in kernel " +
                           demangle(t->block->kernel->name) + head + here + "; block " +
                           std::to_string(other.block) + " thread " + std::to_string(other.thread) +
                           " at " + there + "\n";
  if (doubtful)
    g_doubtful.push_back({t->linear, address, sites, text});
  else
    print(sites, text);
}

void flush_doubtful() {
  for (const Doubtful& d : g_doubtful) print(d.sites, d.text);
  g_doubtful.clear();
}

void synchronise(Thread* t, uint64_t address, bool acquire, bool release) {
  Sync& s = g_sync[address];
  if (s.launch != g_launch) s = Sync{g_launch, ~0u, {}, {}};
  if (acquire) {
    for (auto& k : s.blocks) {
      auto& mine = g_block_known[k.first];
      if (k.second > mine || !mine) mine = k.second;
    }
    if (s.block == g_block)
      for (auto& k : s.threads) {
        auto& mine = g_thread_known[t->linear][k.first];
        if (k.second > mine) mine = k.second;
      }
  }
  if (release) {
    if (s.block != g_block) s.block = g_block, s.threads.clear();
    for (auto& k : g_block_known) {
      auto& theirs = s.blocks[k.first];
      if (k.second > theirs || !theirs) theirs = k.second;
    }
    s.blocks[g_block] = g_barrier;
    for (auto& k : g_thread_known[t->linear]) {
      auto& theirs = s.threads[k.first];
      if (k.second > theirs) theirs = k.second;
    }
    // What the lanes of this warp did before the last common collective is released as well.
    for (uint32_t l = 0; l < 32; ++l) {
      const uint32_t known = g_lane_known[t->linear][l], who = t->warp * 32 + l;
      if (known) {
        auto& theirs = s.threads[who];
        if (known > theirs) theirs = known;
      }
    }
    s.threads[t->linear] = ++g_clock[t->linear];
  }
}

}  // namespace

void race_launch_end() { flush_doubtful(); }

void race_launch_begin() {
  ++g_launch;
  g_sync.clear();
}

void race_block_begin(uint32_t block, uint32_t threads) {
  flush_doubtful();
  g_block = block;
  g_barrier = 1;
  g_clock.assign(threads, 1);
  g_lane_known.assign(threads, {});
  g_thread_known.assign(threads, {});
  g_block_known.clear();
}

void race_block_barrier() {
  ++g_barrier;
  for (auto& k : g_thread_known) k.clear();
}

void race_warp_sync(uint32_t warp, uint32_t mask) {
  const uint32_t base = warp * 32;
  std::array<uint32_t, 32> all{};
  for (uint32_t i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    g_lane_known[base + i][i] = ++g_clock[base + i];
    for (uint32_t j = 0; j < 32; ++j)
      if (g_lane_known[base + i][j] > all[j]) all[j] = g_lane_known[base + i][j];
  }
  for (uint32_t i = 0; i < 32; ++i)
    if (mask >> i & 1) g_lane_known[base + i] = all;
}

void race_access(Thread* t, uint64_t address, unsigned size, int mode) {
  const bool shared = address - kSharedWindow < kSharedWindowSize;
  const bool atomic = (mode & 3) == kAtomic || (mode & kVolatile);
  const bool write = (mode & 3) == kWrite || (mode & 3) == kAtomic;
  if ((mode & 3) == kAtomic && !g_doubtful.empty())
    std::erase_if(g_doubtful, [&](const Doubtful& d) {
      return d.thread == t->linear && d.address >= address && d.address < address + size;
    });
  if (atomic) synchronise(t, address, !(mode == (kWrite | kVolatile)), write);
  Record me;
  me.launch = g_launch, me.block = g_block, me.barrier = g_barrier, me.clock = g_clock[t->linear];
  me.site = t->site, me.thread = (uint16_t)t->linear, me.atomic = atomic, me.used = true;
  for (unsigned i = 0; i < size; ++i) {
    Cell& c = cell(address + i);
    if (!ordered(c.write, t->linear, shared) && !(atomic && c.write.atomic))
      report(t, write ? "write after write" : "read after write", address + i, c.write,
             !write && c.write.atomic);
    if (write) {
      for (const Record* r : {&c.read0, &c.read1})
        if (!ordered(*r, t->linear, shared) && !atomic) {
          report(t, "write after read", address + i, *r, false);
          break;
        }
      c.write = me;
      c.read0.used = c.read1.used = false;
    } else if (ordered(c.read0, t->linear, shared)) {
      c.read0 = me;
    } else {
      c.read1 = me;
    }
  }
}

unsigned race_reports() { return g_reports; }

}  // namespace cudasim
