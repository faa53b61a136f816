// The real server where CUDA fails: at the start, and with requests in flight.
#include <grpcpp/client_context.h>
#include <signal.h>

#include <cstdlib>
#include <fstream>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/retnetd.h"

namespace retnet {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kDemo[] = RETNET_SOURCE_DIR "/models/demo";

// A variable of the environment of the processes that are started while this lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    setenv(name, value.c_str(), 1);
  }
  ~Variable() { before_ ? setenv(name_, before_->c_str(), 1) : unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

  const std::optional<std::string>& before() const { return before_; }

 private:
  const char* const name_;
  std::optional<std::string> before_;
};

// Makes `plan` of failing_cuda.cc that of the processes that are started while this lives.
class Failing {
 public:
  explicit Failing(const std::string& plan) : plan_("FAILING_CUDA", plan) {}

 private:
  // Before the emulator's libraries, which stand in for CUDA's own.
  static std::string Preload() {
    const char* before = std::getenv("LD_PRELOAD");
    return before == nullptr ? FAILING_CUDA_PATH : std::string(FAILING_CUDA_PATH ":") + before;
  }

  const Variable plan_;
  const Variable preload_{"LD_PRELOAD", Preload()};
};

struct Ended {
  int exit_code;
  std::string error;
};

// A server that cannot start; one that does is ended after a while, which is no exit status of its.
Ended RunToItsEnd(const std::vector<std::string>& flags = {}) {
  std::vector<std::string> command = {
      "/usr/bin/timeout", "--signal=KILL", "120",      RETNETD_PATH, "--model", kDemo,
      "--listen",         "127.0.0.1:0",   "--device", "cuda"};
  command.insert(command.end(), flags.begin(), flags.end());
  Process process(command);
  const int exit_code = process.Wait();
  return {exit_code, process.error()};
}

TEST(CudaAtStart, ADriverThatIsMissingEndsTheServerWithStatusThree) {
  const Failing failing("cudaDriverGetVersion=0");
  const Ended ended = RunToItsEnd();
  EXPECT_EQ(ended.exit_code, 3) << ended.error;
  EXPECT_THAT(ended.error, HasSubstr("there is no NVIDIA driver"));
  EXPECT_THAT(ended.error, HasSubstr("--device cpu"));
}

TEST(CudaAtStart, ADriverThatIsTooOldIsNamedWithItsVersion) {
  const Failing failing("cudaDriverGetVersion=12040");
  const Ended ended = RunToItsEnd();
  EXPECT_EQ(ended.exit_code, 3) << ended.error;
  EXPECT_THAT(ended.error, HasSubstr("too old: it serves CUDA 12.4, and 13.0 is needed"));
}

TEST(CudaAtStart, WithoutADeviceEndsTheServerWithStatusThree) {
  const Failing failing("cudaGetDeviceCount=100");
  const Ended ended = RunToItsEnd();
  EXPECT_EQ(ended.exit_code, 3) << ended.error;
  EXPECT_THAT(ended.error, HasSubstr("cudaErrorNoDevice"));
}

TEST(CudaAtStart, WithoutADeviceAutoServesOnTheCpuAndSaysWhy) {
  const Failing failing("cudaGetDeviceCount=100");
  Retnetd server({"--device", "auto"}, /*sequences=*/2, kDemo);
  EXPECT_EQ(Generate(Prompt("Once upon a time", 5), server.NewStub().get()).ids.size(), 5);
  EXPECT_THAT(server.process().error(),
              AllOf(HasSubstr("--device auto takes the CPU: "), HasSubstr("cudaErrorNoDevice")));
}

TEST(CudaAtStart, ADeviceThatIsTooOldIsNamedWithItsCapability) {
  const Failing failing("cudaGetDeviceProperties=75");
  const Ended ended = RunToItsEnd();
  EXPECT_EQ(ended.exit_code, 3) << ended.error;
  EXPECT_THAT(ended.error, HasSubstr("compute capability 7.5; it must be 8.0 or newer"));
}

TEST(CudaAtStart, ADeviceThatIsTooSmallIsRefusedByThePlan) {
  const auto expect_refusal = [](const std::vector<std::string>& flags) {
    const Ended ended = RunToItsEnd(flags);
    EXPECT_EQ(ended.exit_code, 1) << ended.error;
    EXPECT_THAT(ended.error, HasSubstr("retnetd: "));
    EXPECT_THAT(ended.error, HasSubstr("give it more, or lower --max-sequences"));
  };
  expect_refusal({"--max-sequences", "1000000"});  // any device
  if (std::getenv("CUDASIM_HOME") == nullptr) return;
  for (const char* memory : {"24M", "48M"}) {
    SCOPED_TRACE(memory);
    const Variable limit("CUDASIM_MEMORY", memory);
    expect_refusal({});
  }
}

// All memory is taken at the start: what runs then wants for none, and what has no slot waits.
TEST(CudaAtStart, ADeviceThatHoldsAFewSessionsServesAnyNumberInTurns) {
  // As many as an emulated device of that memory holds; a real one is told how many.
  const bool emulated = std::getenv("CUDASIM_HOME") != nullptr;
  std::optional<Retnetd> server;
  {
    const Variable limit("CUDASIM_MEMORY", "50M");
    server.emplace(std::vector<std::string>{"--device", "cuda", "--max-step-rows", "32"},
                   /*sequences=*/emulated ? 0 : 4, kDemo);
  }
  const auto stub = server->NewStub();
  grpc::ClientContext context;
  v1::GetModelResponse model;
  ASSERT_TRUE(stub->GetModel(&context, {}, &model).ok());
  ASSERT_GE(model.max_sequences(), 1);
  ASSERT_LE(model.max_sequences(), 20);
  std::vector<std::future<Generated>> requests;
  for (int i = 0; i < model.max_sequences() + 4; ++i) {
    requests.push_back(std::async(std::launch::async, [&stub] {
      return Generate(Prompt("Once upon a time", 3), stub.get());
    }));
  }
  for (auto& request : requests) {
    const Generated generated = request.get();
    EXPECT_TRUE(generated.status.ok()) << generated.status.error_message();
    EXPECT_EQ(generated.ids.size(), 3);
  }
}

TEST(CudaAtStart, ProgrammaticLaunchesAreNamedAndCanBeTurnedOff) {
  const Variable capability("CUDASIM_CC", "9.0");
  const Retnetd with({"--device", "cuda"}, /*sequences=*/2, kDemo);
  const Retnetd without({"--device", "cuda", "--no-programmatic-launch"}, /*sequences=*/2, kDemo);
  if (std::getenv("CUDASIM_HOME") != nullptr) {  // a real device may have them or not
    EXPECT_THAT(with.process().error(), HasSubstr("programmatic launches"));
  }
  EXPECT_THAT(without.process().error(), ::testing::Not(HasSubstr("programmatic launches")));
  const v1::GenerateRequest request = Prompt("Once upon a time", 5);
  EXPECT_EQ(Generate(request, with.NewStub().get()).ids,
            Generate(request, without.NewStub().get()).ids);
}

// Another process may take memory between the plan and the allocation.
TEST(CudaAtStart, AnyAllocationMayFail) {
  for (const char* plan : {"cudaMalloc=2@1", "cudaMalloc=2@4", "cudaMalloc=2@20", "cudaMalloc=2@45",
                           "cudaMallocHost=2@1", "cublasLtCreate=3"}) {
    const Failing failing(plan);
    const Ended ended = RunToItsEnd();
    EXPECT_EQ(ended.exit_code, 1) << plan << ": " << ended.error;
    EXPECT_THAT(ended.error, HasSubstr("give it more, or lower --max-sequences")) << plan;
  }
}

TEST(CudaAtStart, OtherErrorsEndTheServerWithTheirNames) {
  for (const char* plan : {"cudaStreamCreateWithFlags=999", "cudaMemcpy2DAsync=999@3"}) {
    const Failing failing(plan);
    const Ended ended = RunToItsEnd();
    EXPECT_EQ(ended.exit_code, 1) << plan << ": " << ended.error;
    EXPECT_THAT(ended.error, HasSubstr("cudaErrorUnknown")) << plan;
  }
}

// function=code, and what the message must name.
struct Loss {
  const char* failure;
  const char* named;
};

class CudaInFlight : public ::testing::TestWithParam<Loss> {};

TEST_P(CudaInFlight, AnErrorFailsRequestsAndHealthAndNothingHangs) {
  const std::string trigger = testing::TempDir() + "/cuda_fails_" + std::to_string(getpid());
  std::remove(trigger.c_str());
  std::optional<Retnetd> server;
  {
    const Failing failing(std::string(GetParam().failure) + "@" + trigger);
    server.emplace(std::vector<std::string>{"--device", "cuda", "--max-step-rows", "32"},
                   /*sequences=*/2, kDemo);
  }
  ASSERT_EQ(server->Health(), "SERVING");

  // Two that run, one that waits for a slot.
  std::vector<std::future<Generated>> requests;
  for (int i = 0; i < 3; ++i) {
    requests.push_back(std::async(std::launch::async, [&server] {
      v1::GenerateRequest request = Prompt("Once upon a time", 30000);
      request.set_ignore_eos(true);
      return Generate(request, server->NewStub().get());
    }));
  }
  const auto stub = server->NewStub();
  EXPECT_FALSE(requests[0].wait_for(std::chrono::milliseconds(500)) == std::future_status::ready);
  std::ofstream(trigger).put('x');

  for (auto& request : requests) {
    ASSERT_EQ(request.wait_for(std::chrono::seconds(60)), std::future_status::ready);
    const grpc::Status status = request.get().status;
    EXPECT_THAT(status.error_code(),
                ::testing::AnyOf(grpc::StatusCode::INTERNAL, grpc::StatusCode::UNAVAILABLE));
    EXPECT_THAT(status.error_message(), HasSubstr(GetParam().named));
  }
  EXPECT_EQ(server->Health(), "NOT_SERVING");
  EXPECT_EQ(Generate(Prompt("Once more", 1), stub.get()).status.error_code(),
            grpc::StatusCode::UNAVAILABLE);

  server->process().Signal(SIGTERM);
  EXPECT_EQ(server->process().Wait(), 0) << server->process().error();
  std::remove(trigger.c_str());
}

INSTANTIATE_TEST_SUITE_P(
    , CudaInFlight,
    ::testing::Values(Loss{"all=700", "cudaErrorIllegalAddress"},
                      Loss{"cudaEventSynchronize=719", "cudaErrorLaunchFailure"},
                      Loss{"cudaGraphLaunch=701", "cudaErrorLaunchOutOfResources"},
                      Loss{"cudaMemcpyAsync=999", "cudaErrorUnknown"}),
    [](const auto& info) { return std::string(info.param.named); });

}  // namespace
}  // namespace retnet
