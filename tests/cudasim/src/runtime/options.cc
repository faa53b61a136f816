#include "runtime/options.h"

#include <cstdlib>
#include <cstring>
#include <thread>

namespace cudasim {
namespace {

bool flag(const char* name, bool fallback) {
  const char* v = getenv(name);
  return v && *v ? strcmp(v, "0") != 0 : fallback;
}

long number(const char* name, long fallback) {
  const char* v = getenv(name);
  return v && *v ? strtol(v, nullptr, 0) : fallback;
}

uint64_t bytes(const char* name, uint64_t fallback) {
  const char* v = getenv(name);
  if (!v || !*v) return fallback;
  char* end;
  double n = strtod(v, &end);
  switch (*end) {
    case 'k':
    case 'K':
      n *= 1024.0;
      break;
    case 'm':
    case 'M':
      n *= 1024.0 * 1024;
      break;
    case 'g':
    case 'G':
      n *= 1024.0 * 1024 * 1024;
      break;
  }
  return (uint64_t)n;
}

// Largest dynamic shared memory a block may opt in to, by compute capability.
uint32_t optin_limit(int cc) {
  switch (cc) {
    case 70:
      return 96 * 1024;
    case 75:
      return 64 * 1024;
    case 80:
    case 87:
      return 163 * 1024;
    case 86:
    case 89:
    case 120:
      return 99 * 1024;
    default:
      return cc >= 90 ? 227 * 1024 : 48 * 1024;
  }
}

Options read() {
  Options o;
  o.order = (int)number("CUDASIM_ORDER", 0);
  o.seed = (uint32_t)number("CUDASIM_SEED", 1);
  o.race = flag("CUDASIM_RACE", false);
  o.check = flag("CUDASIM_CHECK", false);
  o.async = flag("CUDASIM_ASYNC", false);
  o.init_check = flag("CUDASIM_INITCHECK", true);
  o.strict_exit = flag("CUDASIM_STRICT_EXIT", false);
  o.strict_shuffle = flag("CUDASIM_STRICT_SHFL", false);
  o.lax_barrier = flag("CUDASIM_LAX_BARRIER", false);
  o.lax_cp_async = flag("CUDASIM_LAX_CPASYNC", false);
  o.poison = flag("CUDASIM_POISON", true);
  o.workers = (int)number("CUDASIM_THREADS", (long)std::thread::hardware_concurrency());
  if (o.workers < 1) o.workers = 1;
  if (o.race) o.workers = 1;  // the shadow memory is not shared between OS threads
  o.stack_kb = (uint32_t)number("CUDASIM_STACK_KB", 256);
  if (const char* cc = getenv("CUDASIM_CC"); cc && *cc) {
    o.cc_major = atoi(cc);
    const char* dot = strchr(cc, '.');
    o.cc_minor = dot ? atoi(dot + 1) : 0;
  }
  const int cc = o.cc_major * 10 + o.cc_minor;
  o.sm_count = (int)number("CUDASIM_SMS", cc >= 90 ? 132 : cc >= 80 ? 108 : 40);
  o.memory = bytes("CUDASIM_MEMORY", 80ull << 30);
  o.shared_optin = optin_limit(cc);
  o.async_flush_ms = (int)number("CUDASIM_ASYNC_FLUSH_MS", 200);
  o.livelock_seconds = (int)number("CUDASIM_LIVELOCK_S", 120);
  if (const char* h = getenv("CUDASIM_HOME")) o.home = h;
  return o;
}

}  // namespace

const Options& options() {
  static const Options o = read();
  return o;
}

}  // namespace cudasim
