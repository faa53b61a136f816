#include "kernels/cpu/cpu_kernels.h"
#include "kernels/reference/reference_kernels.h"
#include "tests/models/recording_model.h"
#include "tests/models/test_model.h"
#include "tests/sanitized.h"

namespace retnet {

namespace {

// Of Wrapper<ReferenceKernels> and Wrapper<CpuKernels>.
template <template <typename> typename Wrapper>
std::vector<Backend> HostBackends() {
  std::vector<Backend> backends;
  // The ordinary build compares its numbers; see ReferenceBackend (tests/kernels/backends.h).
  if (!kSanitized) {
    backends.push_back({.name = "reference",
                        .make = [](const std::string& directory, int32_t slots, int32_t max_rows) {
                          return MakeTestModel(directory,
                                               std::make_unique<Wrapper<ReferenceKernels>>(), slots,
                                               max_rows);
                        }});
  }
  for (const cpu::InstructionSet set : cpu::SupportedInstructionSets()) {
    backends.push_back(
        {.name = std::string(Name(set)),
         .rounds_activations = set == cpu::InstructionSet::kAvx512Bf16,
         .make = [set](const std::string& directory, int32_t slots, int32_t max_rows) {
           const cpu::CpuOptions options{
               .threads = 2, .instruction_set = set, .max_rows = max_rows};
           return MakeTestModel(directory, std::make_unique<Wrapper<cpu::CpuKernels>>(options),
                                slots, max_rows);
         }});
  }
  return backends;
}

template <typename K>
using Unrecorded = K;

}  // namespace

std::vector<Backend> Backends() { return HostBackends<RecordingKernels>(); }

std::vector<Backend> UnrecordedBackends() { return HostBackends<Unrecorded>(); }

}  // namespace retnet
