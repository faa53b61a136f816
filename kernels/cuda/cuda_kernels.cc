#include "kernels/cuda/cuda_kernels.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/matmul/skinny.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/runtime/cuda_status.h"
#include "kernels/status_macros.h"

namespace retnet::cuda {

static_assert(Kernels<CudaKernels>);

namespace {

// The oldest architecture with the kernels' instructions (cp.async, bf16 mma).
constexpr int kLeastMajor = 8;
// The oldest architecture with programmatic dependent launch.
constexpr int kLeastMajorThatOverlaps = 9;

// Pinned memory for copying states: enough for several copies, and small compared with a state.
constexpr int64_t kTransferBytes = int64_t{8} << 20;

// Bytes that a step of `rows` rows copies to the device at most. For each row: token, position,
// index of an output row, one piece, and one segment (its start and readers). At most two calls of
// PlanRetention.
int64_t StagingBytes(int64_t rows) {
  constexpr int64_t kArrays = 16;  // arrays, each with its own alignment
  const int64_t output_launches = rows;
  return rows * static_cast<int64_t>(5 * sizeof(int32_t) + sizeof(RetentionPiece)) +
         (kArrays + output_launches) * Staging::kAlignment;
}

std::string Version(int number) {  // in CUDA's format: 13020 is 13.2
  return absl::StrCat(number / 1000, ".", number % 1000 / 10);
}

// CUDA reports a missing driver as one that is too old. This tells the two apart.
absl::Status CheckDriver() {
  int driver = 0;
  int runtime = 0;
  RETURN_IF_ERROR(CudaStatus(cudaDriverGetVersion(&driver), "asking for the driver's version"));
  RETURN_IF_ERROR(CudaStatus(cudaRuntimeGetVersion(&runtime), "asking for CUDA's version"));
  if (driver == 0) return absl::UnavailableError("there is no NVIDIA driver");
  if (driver / 1000 < runtime / 1000) {
    return absl::UnavailableError(absl::StrCat("the NVIDIA driver is too old: it serves CUDA ",
                                               Version(driver), ", and ", Version(runtime),
                                               " is needed"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> FindDevice() {
  RETURN_IF_ERROR(CheckDriver());
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess) return CudaStatus(error, "looking for a CUDA device");
  if (devices == 0) return absl::UnavailableError("there is no CUDA device");
  cudaDeviceProp properties;
  RETURN_IF_ERROR(CudaStatus(cudaGetDeviceProperties(&properties, 0), "asking the CUDA device"));
  if (properties.major < kLeastMajor) {
    return absl::UnavailableError(absl::StrCat(properties.name, " has compute capability ",
                                               properties.major, ".", properties.minor,
                                               "; it must be ", kLeastMajor, ".0 or newer"));
  }
  return std::string(properties.name);
}

// A newer device also runs kernels compiled for an older one, but that code does not wait for
// earlier kernels. So both the device and the code must be new enough.
absl::StatusOr<bool> CanOverlap() {
  int major = 0;
  int ptx = 0;
  RETURN_IF_ERROR(CudaStatus(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0),
                             "asking the CUDA device"));
  RETURN_IF_ERROR(CudaStatus(SkinnyPtxVersion(&ptx), "asking for the kernels' architecture"));
  return major >= kLeastMajorThatOverlaps && ptx >= 10 * kLeastMajorThatOverlaps;
}

template <typename T>
absl::StatusOr<DeviceArray<T>> CopyToDevice(std::span<const T> values) {
  ASSIGN_OR_RETURN(auto array, DeviceArray<T>::Make(static_cast<int64_t>(values.size())));
  RETURN_IF_ERROR(CudaStatus(
      cudaMemcpy(array.data(), values.data(), values.size_bytes(), cudaMemcpyHostToDevice),
      "copying to the device"));
  return array;
}

}  // namespace

absl::StatusOr<CudaKernels> CudaKernels::Make(int32_t max_rows, bool replays, bool overlaps) {
  CudaKernels kernels;
  kernels.max_rows_ = max_rows;
  kernels.replays_ = replays;
  ASSIGN_OR_RETURN(kernels.device_name_, FindDevice());
  ASSIGN_OR_RETURN(const bool can_overlap, CanOverlap());
  kernels.overlaps_ = overlaps && can_overlap;
  ASSIGN_OR_RETURN(kernels.stream_, MakeStream());
  for (Event& end : kernels.step_ends_) {
    ASSIGN_OR_RETURN(end, MakeEvent());
  }
  ASSIGN_OR_RETURN(kernels.matmul_, CudaMatMul::Make(kernels.queue(), max_rows));
  ASSIGN_OR_RETURN(kernels.sampler_, CudaSampler::Make(max_rows));
  ASSIGN_OR_RETURN(kernels.staging_, Staging::Make(StagingBytes(max_rows)));
  return kernels;
}

absl::StatusOr<DeviceMemory> CudaKernels::Memory() {
  size_t free = 0;
  size_t total = 0;
  RETURN_IF_ERROR(CudaStatus(cudaMemGetInfo(&free, &total), "asking for the device's memory"));
  return DeviceMemory{static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

void CudaKernels::KeepFirstError(cudaError_t error, absl::string_view what) {
  if (error != cudaSuccess) status_.Update(CudaStatus(error, what));
}

template <typename T>
const T* CudaKernels::Send(std::span<const T> values) {
  const T* address = staging_.Put(values);
  if (address == nullptr) {
    status_.Update(absl::InternalError("a step's rows do not fit in their staging memory"));
  }
  if (mode_ == StepMode::kLaunch) {
    KeepFirstError(staging_.Flush(stream_.get()), "sending a step's rows to the device");
  }
  return address;
}

absl::StatusOr<CudaWeight> CudaKernels::Pack(std::span<const HostTensor> tensors) {
  ASSIGN_OR_RETURN(Weight weight, matmul_->Pack(tensors));
  RETURN_IF_ERROR(sampler_.Reserve(weight.outputs()));  // any weight may be the output projection
  return weight;
}

absl::StatusOr<CudaKernels::Buffer> CudaKernels::Upload(std::span<const float> values) {
  return CopyToDevice(values);
}

absl::StatusOr<CudaStates> CudaKernels::AllocateStates(const RetentionShape& shape,
                                                       std::span<const float> decay) {
  const int64_t bytes = std::max(kTransferBytes, CudaStates::CopyBytesAtLeast(shape));
  ASSIGN_OR_RETURN(transfers_, CudaTransfers::Make(bytes));
  return CudaStates::Make(shape, decay, max_rows_);
}

absl::StatusOr<CudaKernels::LastTokens> CudaKernels::AllocateLastTokens(int32_t slots) {
  LastTokens last_tokens;
  ASSIGN_OR_RETURN(last_tokens.tokens, DeviceArray<TokenId>::Make(slots));
  return last_tokens;
}

absl::StatusOr<CudaKernels::PositionTables> CudaKernels::AllocatePositionTables(
    int64_t max_rows, std::span<const double> thetas, std::span<const float> decays) {
  PositionTables tables;
  tables.pairs = static_cast<int64_t>(thetas.size());
  tables.heads = static_cast<int64_t>(decays.size());
  ASSIGN_OR_RETURN(tables.thetas, CopyToDevice(thetas));
  ASSIGN_OR_RETURN(tables.decays,
                   CopyToDevice<double>(std::vector<double>(decays.begin(), decays.end())));
  ASSIGN_OR_RETURN(tables.cosines, Buffer::Make(max_rows * tables.pairs));
  ASSIGN_OR_RETURN(tables.sines, Buffer::Make(max_rows * tables.pairs));
  ASSIGN_OR_RETURN(tables.decay_sums, Buffer::Make(max_rows * tables.heads));
  return tables;
}

DevicePlan CudaKernels::PlanRetention(std::span<const RetentionSegment> segments) {
  cuda::PlanRetention(segments, sampled_rows_, &host_plan_);
  if (mode_ == StepMode::kStage) step_kind_.shares_bases |= host_plan_.sampled.shares_bases;
  if (mode_ == StepMode::kRecord) host_plan_.sampled.shares_bases = step_kind_.shares_bases;
  return {.pieces = Send<RetentionPiece>(host_plan_.pieces),
          .starts = Send<int32_t>(host_plan_.starts),
          .readers = Send<int32_t>(host_plan_.readers),
          .sampled = host_plan_.sampled,
          .prompt = host_plan_.prompt};
}

void CudaKernels::Embed(std::span<const TokenId> tokens, const LastTokens& last_tokens,
                        const Weight& weight, float multiplier, MatrixView<float> x) {
  const TokenId* sent = Send(tokens);
  if (!launches()) return;
  const EmbeddingTable table{weight.data(), weight.type(), weight.stride()};
  KeepFirstError(EmbedRows(sent, last_tokens.tokens.data(), table, multiplier, x, queue()),
                 "Embed");
}

void CudaKernels::Normalize(Norm norm, MatrixView<float> x) {
  if (!launches()) return;
  KeepFirstError(NormalizeRows(norm.weight, norm.epsilon, x, queue()), "Normalize");
}

void CudaKernels::FillPositionTables(std::span<const int32_t> positions, PositionTables& tables) {
  tables.rows = static_cast<int64_t>(positions.size());
  const int32_t* sent = Send(positions);
  if (!launches()) return;
  KeepFirstError(cuda::FillPositionTables(
                     {.positions = sent,
                      .thetas = tables.thetas.data(),
                      .decays = tables.decays.data(),
                      .cosines = {tables.cosines.data(), tables.rows, tables.pairs},
                      .sines = {tables.sines.data(), tables.rows, tables.pairs},
                      .decay_sums = {tables.decay_sums.data(), tables.rows, tables.heads}},
                     queue()),
                 "FillPositionTables");
}

void CudaKernels::NormMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                             MatrixView<float> y) {
  if (launches()) matmul_->NormMatMul(x, norm, weight, SampledOf(x.rows), y);
}

void CudaKernels::MatMulAdd(MatrixView<const float> y, const Weight& weight, MatrixView<float> x) {
  if (launches()) matmul_->MatMulAdd(y, weight, SampledOf(y.rows), x);
}

void CudaKernels::NormGatedMatMul(MatrixView<const float> x, Norm norm, const Weight& weight,
                                  Activation activation, MatrixView<float> y) {
  if (launches()) matmul_->NormGatedMatMul(x, norm, weight, activation, SampledOf(x.rows), y);
}

void CudaKernels::Retention(int32_t layer, const RetentionPlan& plan,
                            MatrixView<const float> projections, const PositionTables& tables,
                            Norm norm, States& states, MatrixView<float> out) {
  if (!launches()) return;
  const RetentionInputs inputs{.layer = layer,
                               .projections = projections,
                               .cosines = {tables.cosines.data(), tables.rows, tables.pairs},
                               .sines = {tables.sines.data(), tables.rows, tables.pairs},
                               .decay_sums = {tables.decay_sums.data(), tables.rows, tables.heads},
                               .norm = norm};
  KeepFirstError(Retain(plan, inputs, states.view(), out, queue()), "Retention");
}

void CudaKernels::Gather(MatrixView<const float> x, std::span<const int32_t> indices,
                         MatrixView<float> y) {
  const int32_t* sent = Send(indices);
  if (launches()) KeepFirstError(GatherRows(x, sent, y, queue()), "Gather");
}

void CudaKernels::Sample(MatrixView<const float> logits, std::span<const SampleRequest> requests,
                         std::span<const int32_t> keep_in, LastTokens& last_tokens,
                         std::span<SampleResult> results) {
  if (!status_.ok()) return;
  status_.Update(sampler_.Sample(logits, requests, keep_in, last_tokens.tokens.data(), results,
                                 queue(), mode_));
}

// Records a step twice: once for rows that all have different bases, and once for rows of which
// some share a base. The two use different retention kernels.
absl::Status CudaKernels::Record(int32_t rows, absl::FunctionRef<void()> operators) {
  mode_ = StepMode::kRecord;
  for (const bool shares_bases : {false, true}) {
    if (shares_bases && rows == 1) continue;
    step_kind_ = {rows, shares_bases};
    status_.Update(graphs_.Record(step_kind_, operators, stream_.get()));
    Rewind();
  }
  mode_ = StepMode::kLaunch;
  status_.Update(matmul_->status());
  return status_;
}

void CudaKernels::Replay(int32_t rows, absl::FunctionRef<void()> operators) {
  if (graphs_.Has({rows})) {
    mode_ = StepMode::kStage;
    step_kind_ = {rows};
    operators();
    mode_ = StepMode::kLaunch;
    if (sampler_.fits()) {
      KeepFirstError(staging_.Flush(stream_.get()), "sending a step's rows to the device");
      KeepFirstError(sampler_.Flush(stream_.get()), "sending sample requests");
      if (status_.ok()) {
        KeepFirstError(graphs_.Launch(step_kind_, stream_.get()), "launching a recorded step");
      }
      return;
    }
    Rewind();
  }
  operators();
}

void CudaKernels::Rewind() {
  staging_.Rewind();
  sampler_.Rewind();
}

void CudaKernels::EndStep() {
  status_.Update(sampler_.EndStep(stream_.get()));
  KeepFirstError(cudaEventRecord(step_ends_[step_].get(), stream_.get()), "ending a step");
  staging_.NextStep();
  step_ = (step_ + 1) % kStepsInFlight;
  ++ended_;
}

absl::Status CudaKernels::WaitStep() {
  status_.Update(matmul_->status());
  const int32_t oldest = (step_ + kStepsInFlight - ended_--) % kStepsInFlight;
  KeepFirstError(cudaEventSynchronize(step_ends_[oldest].get()), "a step on the device");
  if (status_.ok()) sampler_.Collect();
  return status_;
}

void CudaKernels::CopyLastToken(int32_t from, int32_t to, LastTokens& last_tokens) {
  TokenId* tokens = last_tokens.tokens.data();
  KeepFirstError(cudaMemcpyAsync(tokens + to, tokens + from, sizeof(TokenId),
                                 cudaMemcpyDeviceToDevice, stream_.get()),
                 "copying a token");
}

void CudaKernels::ReadBase(const States& states, int32_t base, std::span<std::byte> bytes) {
  transfers_->Queue(stream_.get(), [&states, base, bytes](const CopyLane& lane) {
    return states.ReadBase(base, bytes, lane);
  });
}

void CudaKernels::WriteBase(std::span<const std::byte> bytes, int32_t base, States& states) {
  transfers_->Queue(stream_.get(), [&states, base, bytes](const CopyLane& lane) {
    return states.WriteBase(bytes, base, lane);
  });
}

void CudaKernels::ReadTail(const States& states, int32_t slot, int32_t tokens,
                           std::span<std::byte> bytes) {
  transfers_->Queue(stream_.get(), [&states, slot, tokens, bytes](const CopyLane& lane) {
    return states.ReadTail(slot, tokens, bytes, lane);
  });
}

void CudaKernels::WriteTail(std::span<const std::byte> bytes, int32_t tokens, int32_t slot,
                            States& states) {
  transfers_->Queue(stream_.get(), [&states, slot, tokens, bytes](const CopyLane& lane) {
    return states.WriteTail(bytes, tokens, slot, lane);
  });
}

void CudaKernels::CopyTail(int32_t from, int32_t to, int32_t tokens, States& states) {
  status_.Update(states.CopyTail(from, to, tokens, stream_.get()));
}

void CudaKernels::AfterTransfers(std::function<void(const absl::Status&)> done) {
  transfers_->Queue(std::move(done));
}

absl::Status CudaKernels::Finish() {
  status_.Update(matmul_->status());
  status_.Update(sampler_.Finish(stream_.get()));
  if (transfers_ != nullptr) {
    absl::Status copied;
    transfers_->Queue([&copied](const absl::Status& status) { copied = status; });
    transfers_->Wait();
    status_.Update(copied);
  }
  staging_.Rewind();
  return status_;
}

}  // namespace retnet::cuda
