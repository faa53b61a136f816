// What the operators of a step do during their calls.
#ifndef RETNET_KERNELS_CUDA_RUNTIME_STEP_MODE_H_
#define RETNET_KERNELS_CUDA_RUNTIME_STEP_MODE_H_

namespace retnet::cuda {

enum class StepMode {
  kLaunch,  // copy their arguments to the device and launch kernels
  kStage,   // put their arguments where a recorded step reads them; launch nothing
  kRecord,  // put their arguments as in kStage, and launch into a stream that is being captured
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_STEP_MODE_H_
