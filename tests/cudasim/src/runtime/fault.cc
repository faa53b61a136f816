#include "runtime/fault.h"

#include <cxxabi.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>

#include "runtime/block.h"
#include "runtime/memory.h"
#include "runtime/options.h"

namespace cudasim {
namespace {

std::mutex g_report_mutex;  // only the first fault is reported
struct sigaction g_previous;

std::string ptx_line_text(const char* path, uint32_t line) {
  std::ifstream in(path);
  std::string text;
  for (uint32_t i = 0; i < line && std::getline(in, text); ++i) {
  }
  size_t b = text.find_first_not_of(" \t"), e = text.find_last_not_of(" \t\r");
  return b == std::string::npos ? "" : text.substr(b, e - b + 1);
}

void handle_segv(int sig, siginfo_t* info, void*) {
  const uint64_t a = (uint64_t)info->si_addr;
  Thread* t = current_thread();
  if (t) {
    if (in_storage(a)) {
      const uint64_t device = a - kArenaOffset;
      fault(t, "illegal address: global access at %#lx; %s", (unsigned long)device,
            describe_address(device).c_str());
    }
    if (a < t->stack_lo && a + (64 << 10) > t->stack_lo)
      fault(t, "local memory stack overflow (raise CUDASIM_STACK_KB, now %u)", options().stack_kb);
    fault(t, "signal %d at host address %#lx while executing a kernel", sig, (unsigned long)a);
  }
  if (in_arena(a))
    host_fault("host code dereferenced the device address %#lx; %s", (unsigned long)a,
               describe_address(a).c_str());
  if (in_storage(a))
    host_fault("copy or library call touched invalid device memory at %#lx; %s",
               (unsigned long)(a - kArenaOffset), describe_address(a - kArenaOffset).c_str());
  sigaction(sig, &g_previous,
            nullptr);  // not ours: let the previous handler see the re-executed access
}

}  // namespace

std::string demangle(const char* name) {
  int status = 0;
  char* d = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string r = status == 0 && d ? d : name;
  free(d);
  return r;
}

std::string describe_site(const ModuleInfo* m, uint32_t site) {
  if (!m || site == 0 || site >= m->site_count) return "an unknown instruction";
  const Site& s = m->sites[site];
  std::string r = "PTX line " + std::to_string(s.ptx_line) + " `" +
                  ptx_line_text(m->ptx_path, s.ptx_line) + "`";
  if (s.file && s.file < m->file_count) {
    r += " (" + std::string(m->files[s.file]) + ":" + std::to_string(s.line);
    if (s.inlined_file && s.inlined_file < m->file_count)
      r += ", inlined at " + std::string(m->files[s.inlined_file]) + ":" +
           std::to_string(s.inlined_line);
    r += ")";
  }
  return r;
}

void exit_with_fault() {
  fflush(stdout);
  fflush(stderr);
  _exit(kFaultStatus);
}

void fault(Thread* t, const char* format, ...) {
  g_report_mutex.lock();
  char what[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args);
  va_end(args);
  const BlockView& b = *t->block;
  fprintf(stderr,
          "\ncudasim: FAULT in kernel %s <<<(%u,%u,%u),(%u,%u,%u),%u>>> block (%u,%u,%u) thread "
          "(%u,%u,%u): %s; at %s "
          "[%s]\n",
          demangle(b.kernel->name).c_str(), b.nctaid.x, b.nctaid.y, b.nctaid.z, b.ntid.x, b.ntid.y,
          b.ntid.z, b.dynamic_size, b.ctaid.x, b.ctaid.y, b.ctaid.z, t->tid.x, t->tid.y, t->tid.z,
          what, describe_site(b.module, t->site).c_str(), b.module->ptx_path);
  exit_with_fault();
}

void unsupported(Thread* t, const char* instruction) {
  fault(t, "unsupported PTX instruction: %s", instruction);
}

void host_fault(const char* format, ...) {
  g_report_mutex.lock();
  char what[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args);
  va_end(args);
  fprintf(stderr, "\ncudasim: FAULT on the host side: %s\n", what);
  exit_with_fault();
}

void prepare_thread_for_faults() {
  static thread_local bool done = false;
  if (done) return;
  done = true;
  stack_t old{};
  sigaltstack(nullptr, &old);
  if (!(old.ss_flags & SS_DISABLE)) return;
  stack_t ss{};
  ss.ss_size = 256 << 10;
  ss.ss_sp = mmap(nullptr, ss.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (ss.ss_sp != MAP_FAILED) sigaltstack(&ss, nullptr);
}

void install_signal_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    prepare_thread_for_faults();
    struct sigaction sa {};
    sa.sa_sigaction = handle_segv;
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGBUS, &sa, nullptr);
    sigaction(SIGSEGV, &sa, &g_previous);
  });
}

}  // namespace cudasim
