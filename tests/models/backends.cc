#include "kernels/cpu/cpu_kernels.h"
#include "kernels/reference/reference_kernels.h"
#include "tests/models/recording_model.h"
#include "tests/models/test_model.h"

namespace retnet {

std::vector<Backend> Backends() {
  std::vector<Backend> backends = {
      {.name = "reference",
       .make = [](const std::string& directory, int32_t slots, int32_t max_rows) {
         return MakeTestModel(directory, std::make_unique<RecordingKernels<ReferenceKernels>>(),
                              slots, max_rows);
       }}};
  for (const InstructionSet set : SupportedInstructionSets()) {
    backends.push_back(
        {.name = std::string(Name(set)),
         .rounds_activations = set == InstructionSet::kAvx512Bf16,
         .make = [set](const std::string& directory, int32_t slots, int32_t max_rows) {
           const CpuOptions options{.threads = 2, .instruction_set = set, .max_rows = max_rows};
           return MakeTestModel(directory, std::make_unique<RecordingKernels<CpuKernels>>(options),
                                slots, max_rows);
         }});
  }
  return backends;
}

}  // namespace retnet
