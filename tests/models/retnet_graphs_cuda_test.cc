// Decode steps that CUDA graphs replay.
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_kernels.h"
#include "tests/models/random_checkpoint.h"
#include "tests/models/recording_model.h"
#include "tests/models/step_script.h"
#include "tests/models/test_model.h"

// What the test sees of the calls of the runtime, in front of which it stands.
namespace {

int64_t overlapping_launches = 0;       // that may overlap with those before them
std::vector<int64_t> recorded_kernels;  // of each graph, in the order in which they were made
int64_t graph_launches = 0;

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

int64_t CountKernels(cudaGraph_t graph) {
  size_t count = 0;
  EXPECT_EQ(cudaGraphGetNodes(graph, nullptr, &count), cudaSuccess);
  std::vector<cudaGraphNode_t> nodes(count);
  EXPECT_EQ(cudaGraphGetNodes(graph, nodes.data(), &count), cudaSuccess);
  return std::count_if(nodes.begin(), nodes.end(), [](cudaGraphNode_t node) {
    cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
    EXPECT_EQ(cudaGraphNodeGetType(node, &type), cudaSuccess);
    return type == cudaGraphNodeTypeKernel;
  });
}

}  // namespace

// Replaces the function of the runtime: counts the launches that may overlap with earlier ones.
extern "C" {

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* kernel,
                                void** arguments) {
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config->attrs[i];
    overlapping_launches += attribute.id == cudaLaunchAttributeProgrammaticStreamSerialization &&
                            attribute.val.programmaticStreamSerializationAllowed != 0;
  }
  using Function = cudaError_t(const cudaLaunchConfig_t*, const void*, void**);
  static auto* const next = Next<Function>("cudaLaunchKernelExC");
  return next(config, kernel, arguments);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long flags) {  // NOLINT: the runtime's type
  recorded_kernels.push_back(CountKernels(graph));
  using Function = cudaError_t(cudaGraphExec_t*, cudaGraph_t, unsigned long long);  // NOLINT
  static auto* const next = Next<Function>("cudaGraphInstantiate");
  return next(executable, graph, flags);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  ++graph_launches;
  using Function = cudaError_t(cudaGraphExec_t, cudaStream_t);
  static auto* const next = Next<Function>("cudaGraphLaunch");
  return next(executable, stream);
}

}  // extern "C"

namespace retnet {
namespace {

std::string Config(int32_t layers) {
  return absl::StrCat(
      R"({"vocab_size": 97, "hidden_size": 24, "num_heads": 3, "intermediate_size": 40,
          "num_hidden_layers": )",
      layers, "}");
}

// The number of kernel launches of each kind of decode step of a new model.
std::vector<int64_t> LaunchesOfSteps(int32_t layers) {
  recorded_kernels.clear();
  auto kernels = cuda::CudaKernels::Make(/*max_rows=*/40, /*replays=*/true);
  EXPECT_TRUE(kernels.ok()) << kernels.status();
  const TestModel model = MakeTestModel(
      WriteRandomCheckpoint({.config = Config(layers), .type = ElementType::kBFloat16}),
      std::make_unique<cuda::CudaKernels>(*std::move(kernels)), /*slots=*/64, /*max_rows=*/40);
  return std::exchange(recorded_kernels, {});
}

// For bf16 and fp16 weights. With fp32 weights, a launch of a matrix product takes at most 16 rows.
TEST(RetNetGraphs, ALayerOfADecodeStepIsFiveLaunches) {
  const std::vector<int64_t> one = LaunchesOfSteps(/*layers=*/1);
  const std::vector<int64_t> three = LaunchesOfSteps(/*layers=*/3);
  // Of 1, 2, 4, 8, 16, 32 and 40 rows; from 2 on those that share bases are another kind.
  ASSERT_EQ(one.size(), 2 * 7 - 1);
  ASSERT_EQ(three.size(), one.size());
  for (size_t kind = 0; kind < one.size(); ++kind) {
    EXPECT_GT(one[kind], 5) << "kind " << kind << ": something comes before and after the layer";
    EXPECT_EQ(three[kind] - one[kind], 2 * 5) << "kind " << kind;
  }
}

// All kernels of a decode step do.
TEST(RetNetGraphs, KernelsOverlapWhereTheDeviceCanAndTheyMay) {
  const std::string folder = WriteRandomCheckpoint({.config = Config(/*layers=*/2)});
  const auto launches = [&](bool may, bool* overlaps) {
    recorded_kernels.clear();
    auto kernels = cuda::CudaKernels::Make(/*max_rows=*/8, /*replays=*/true, may);
    EXPECT_TRUE(kernels.ok()) << kernels.status();
    *overlaps = kernels->Overlaps();
    const TestModel model =
        MakeTestModel(folder, std::make_unique<cuda::CudaKernels>(*std::move(kernels)), /*slots=*/2,
                      /*max_rows=*/8);
    EXPECT_EQ(recorded_kernels.size(), 3) << "1 row, 2 rows, 2 rows that share a base";
    return std::accumulate(recorded_kernels.begin(), recorded_kernels.end(), int64_t{0});
  };
  bool overlaps = false;
  overlapping_launches = 0;
  ASSERT_GT(launches(/*may=*/false, &overlaps), 0);
  EXPECT_FALSE(overlaps);
  EXPECT_EQ(overlapping_launches, 0);
  const int64_t all = launches(/*may=*/true, &overlaps);
  EXPECT_EQ(overlapping_launches, overlaps ? all : 0);
  if (const char* capability = std::getenv("CUDASIM_CC")) {
    EXPECT_EQ(overlaps, std::string(capability) == "9.0");
  }
}

TEST(RetNetGraphs, ReplayedStepsAreThoseThatAreLaunched) {
  constexpr int32_t kSlots = 9;  // so that steps are padded
  const std::string folder = WriteRandomCheckpoint({.config = Config(/*layers=*/2)});
  const StepScript script(kSlots, /*vocab_size=*/97, /*steps=*/80, /*seed=*/3);
  EXPECT_GT(script.decode_steps(), 30);
  std::vector<std::vector<SampleResult>> results;
  std::vector<int64_t> replayed;
  for (const Backend& backend : UnrecordedBackends()) {
    TestModel model = backend.make(folder, kSlots, /*max_rows=*/900);
    graph_launches = 0;
    results.push_back(script.Run(model, /*ahead=*/true));
    replayed.push_back(graph_launches);
  }
  EXPECT_EQ(replayed, (std::vector<int64_t>{0, script.decode_steps()}));
  ASSERT_EQ(results.size(), 2);
  ExpectSameResults(results[0], results[1]);
}

// Samples of one prompt, which read one base together until they fold it.
TEST(RetNetGraphs, ReplayedSamplesOfOnePromptAreThoseThatAreLaunched) {
  constexpr int32_t kSamples = 11;
  const std::string folder = WriteRandomCheckpoint({.config = Config(/*layers=*/2)});
  const std::vector<TokenId> prompt = RandomTokens(/*count=*/122, /*vocab_size=*/97, /*seed=*/5);
  std::vector<std::vector<SampleResult>> results;
  for (const Backend& backend : UnrecordedBackends()) {
    TestModel model = backend.make(folder, kSamples, /*max_rows=*/200);
    StepResult result;
    const std::vector<Segment> prompt_step = {{0, 0, RowClass::kPrompt, prompt, {}}};
    ASSERT_TRUE(model->Launch(prompt_step).ok());
    ASSERT_TRUE(model->Wait(&result).ok());
    for (SlotId slot = 1; slot < kSamples; ++slot) ASSERT_TRUE(model->Fork(0, slot).ok());
    std::vector<TokenId> tokens = RandomTokens(kSamples, /*vocab_size=*/97, /*seed=*/6);
    results.emplace_back();
    for (int step = 0; step < 10; ++step) {
      RowOutput output;
      output.request.logprob = true;
      std::vector<Segment> segments;
      for (SlotId slot = 0; slot < kSamples; ++slot) {
        segments.push_back({slot,
                            model->state(slot).position,
                            RowClass::kSampled,
                            std::span(tokens).subspan(slot, 1),
                            {&output, 1}});
      }
      ASSERT_TRUE(model->Launch(segments).ok());
      ASSERT_TRUE(model->Wait(&result).ok());
      for (SlotId slot = 0; slot < kSamples; ++slot) tokens[slot] = result.results[slot].token;
      results.back().insert(results.back().end(), result.results.begin(), result.results.end());
    }
  }
  ASSERT_EQ(results.size(), 2);
  ExpectSameResults(results[0], results[1]);
}

// Edits of all logits of many rows do not fit into their memory.
TEST(RetNetGraphs, StepsOfTooManyEditsAreLaunchedInstead) {
  constexpr int32_t kVocabulary = 40000;
  constexpr int32_t kSlots = 4;
  const std::string folder =
      WriteRandomCheckpoint({.config = R"({"vocab_size": 40000, "hidden_size": 8, "num_heads": 1,
                     "intermediate_size": 8, "num_hidden_layers": 1})"});
  std::vector<LogitEdit> edits(kVocabulary);
  for (int32_t i = 0; i < kVocabulary; ++i) edits[i] = {.token = i, .add = i == 7 ? 100.0f : 0.0f};
  RowOutput output;
  output.request.sampling = {.temperature = 0, .edits = edits};
  for (const Backend& backend : UnrecordedBackends()) {
    SCOPED_TRACE(backend.name);
    TestModel model = backend.make(folder, kSlots, /*max_rows=*/8);
    const std::vector<TokenId> token = {5};
    std::vector<Segment> segments;
    for (SlotId slot = 0; slot < kSlots; ++slot) {
      segments.push_back({slot, 0, RowClass::kSampled, token, {&output, 1}});
    }
    StepResult result;
    graph_launches = 0;
    ASSERT_TRUE(model->Launch(segments).ok());
    ASSERT_TRUE(model->Wait(&result).ok());
    EXPECT_EQ(graph_launches, 0);
    ASSERT_EQ(result.results.size(), kSlots);
    for (const SampleResult& result : result.results) EXPECT_EQ(result.token, 7);
  }
}

}  // namespace
}  // namespace retnet
