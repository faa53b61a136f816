// Diagnosis of simulator-detected faults.
#ifndef RETNET_TESTS_CUDASIM_SRC_RUNTIME_FAULT_H_
#define RETNET_TESTS_CUDASIM_SRC_RUNTIME_FAULT_H_

#include <string>

#include "runtime/sim.h"

namespace cudasim {

std::string demangle(const char* name);
std::string describe_site(const ModuleInfo*, uint32_t site);  // "PTX line 12 `ld...` (file.cu:34)"
void install_signal_handler();
void prepare_thread_for_faults();  // alternate signal stack for this OS thread
[[noreturn]] void host_fault(const char* format, ...) __attribute__((format(printf, 1, 2)));
[[noreturn]] void exit_with_fault();

}  // namespace cudasim

#endif  // RETNET_TESTS_CUDASIM_SRC_RUNTIME_FAULT_H_
