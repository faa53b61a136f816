// What the operators of a step do when they are called.
#ifndef RETNET_KERNELS_CUDA_RUNTIME_STEP_MODE_H_
#define RETNET_KERNELS_CUDA_RUNTIME_STEP_MODE_H_

namespace retnet::cuda {

enum class StepMode {
  kLaunch,  // send their arguments to the device and launch
  kStage,   // put their arguments where a recorded step reads them
  kRecord,  // launch into a stream that is being captured; put their arguments as when staged
};

}  // namespace retnet::cuda

#endif  // RETNET_KERNELS_CUDA_RUNTIME_STEP_MODE_H_
