// RetNet's forward pass, the same for every backend, and the Model around it: slots, steps,
// transfers.
#ifndef RETNET_MODELS_RETNET_H_
#define RETNET_MODELS_RETNET_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "kernels/kernels.h"
#include "kernels/status_macros.h"
#include "models/config.h"
#include "models/device_weights.h"
#include "models/model.h"
#include "models/slot_states.h"
#include "models/step_plan.h"

namespace retnet {

template <Kernels K>
class RetNet : public Model {
 public:
  // Allocates all memory for steps and for info.slots states. In `info`, the caller sets the names,
  // the ids, slots, max_rows and base_type; Create sets the rest. If the backend replays steps,
  // Create records them.
  static absl::StatusOr<std::unique_ptr<RetNet>> Create(std::unique_ptr<K> kernels,
                                                        const RetNetConfig& config,
                                                        DeviceWeights<K> weights, ModelInfo info);

  // Waits for steps and transfers in flight.
  ~RetNet() override { (void)kernels_->Finish(); }

  // Bytes of the buffers for steps of up to `max_rows` rows, without the workspaces of the kernels.
  static int64_t StepBytes(const RetNetConfig& config, int64_t max_rows);

  const ModelInfo& info() const override { return info_; }

  absl::Status Launch(std::span<const Segment> segments) override;
  absl::Status Wait(StepResult* result) override;

  using Model::Fork;
  absl::Status Fork(SlotId from, SlotId to, int32_t position) override;
  absl::Status Truncate(SlotId slot, int32_t position) override {
    return slots_.Truncate(slot, position);
  }
  absl::Status Clear(SlotId slot) override { return slots_.Clear(slot); }

  StateShape state(SlotId slot) const override {
    return {.base_position = slots_[slot].base_position, .position = slots_[slot].position};
  }
  absl::StatusOr<Ticket> StartRead(SlotId slot, std::span<std::byte> bytes) override;
  absl::StatusOr<Ticket> StartWrite(std::span<const std::byte> bytes, StateShape shape,
                                    SlotId slot) override;

 private:
  using Buffer = typename K::Buffer;

  // Rows of logits that are computed at a time, so that their memory does not depend on the number
  // of outputs of a step.
  static constexpr int32_t kLogitsRows = 64;

  RetNet(std::unique_ptr<K> kernels, const RetNetConfig& config, DeviceWeights<K> weights,
         ModelInfo info)
      : kernels_(std::move(kernels)),
        config_(config),
        shape_(config.Retention(info.slots, info.base_type)),
        weights_(std::move(weights)),
        info_(std::move(info)),
        slots_(info_.slots),
        plan_(info_.max_rows, config.vocab_size, info_.slots) {}

  // A buffer of a step and its size.
  struct StepBuffer {
    Buffer RetNet::*buffer;
    int64_t numbers;
  };
  static std::array<StepBuffer, 6> StepBuffers(const RetNetConfig& config, int64_t max_rows);

  absl::Status Allocate();
  absl::Status RecordDecodeSteps();
  void Forward(std::span<SampleResult> results);
  Norm NormOf(const Buffer& weight) const { return {weight.data(), config_.norm_epsilon}; }
  // The first `count` rows of a buffer with `columns` columns.
  static MatrixView<float> View(const Buffer& buffer, int64_t count, int64_t columns) {
    return {buffer.data(), count, columns};
  }
  absl::Status CheckStateBytes(StateShape shape, size_t bytes) const;
  // A ticket for the transfer just queued. It is done when all transfers up to this one are over.
  Ticket NextTicket();
  // The number of rows that a decode step is padded to: a power of two or max_rows. So there are
  // few kinds of steps to record.
  int32_t PaddedRows(int32_t rows) const {
    return static_cast<int32_t>(std::min(std::bit_ceil(static_cast<uint32_t>(rows)),
                                         static_cast<uint32_t>(info_.max_rows)));
  }

  // Constant after construction.
  std::unique_ptr<K> kernels_;
  const RetNetConfig config_;
  const RetentionShape shape_;
  const DeviceWeights<K> weights_;
  ModelInfo info_;

  // The states on the device, and the host's bookkeeping of them.
  SlotStates slots_;
  std::optional<typename K::States> states_;
  std::optional<typename K::LastTokens> last_tokens_;

  // Used by the step that is being computed. Each buffer is written before it is read.
  StepPlan plan_;
  std::vector<typename K::RetentionPlan> fold_phases_;  // of plan_, prepared by the kernels
  std::optional<typename K::PositionTables> position_tables_;
  Buffer stream_;       // [max_rows, hidden]
  Buffer projections_;  // [max_rows, shape.ProjectionColumns()]
  Buffer retained_;     // [max_rows, shape.OutputColumns()]
  Buffer gated_;        // [max_rows, intermediate]
  Buffer gathered_;     // [kLogitsRows, hidden]
  Buffer logits_;       // [kLogitsRows, vocabulary]

  // Steps that have been launched and not waited for: in_flight_ of them, from steps_[oldest_] on.
  struct Step {
    std::vector<SampleResult> results;
    int32_t outputs = 0;  // further results are those of padding rows
  };
  std::array<Step, kStepsInFlight> steps_;
  int32_t oldest_ = 0;
  int32_t in_flight_ = 0;
  absl::Status failure_;  // once not OK, the model is unusable

  Ticket last_ticket_ = 0;
};

template <Kernels K>
void RetNet<K>::Forward(std::span<SampleResult> results) {
  const int32_t rows = plan_.rows();
  const auto x = View(stream_, rows, config_.hidden_size);
  const auto projections = View(projections_, rows, shape_.ProjectionColumns());
  const auto retained = View(retained_, rows, shape_.OutputColumns());
  const auto gated = View(gated_, rows, config_.intermediate_size);

  kernels_->SetSampledRows(plan_.sampled_rows());
  fold_phases_.clear();
  for (const auto& fold_phase : plan_.fold_phases()) {
    fold_phases_.push_back(kernels_->PlanRetention(fold_phase));
  }
  kernels_->Embed(plan_.tokens(), *last_tokens_, weights_.embeddings, config_.embedding_multiplier,
                  x);
  if (weights_.embeddings_norm) kernels_->Normalize(NormOf(*weights_.embeddings_norm), x);
  kernels_->FillPositionTables(plan_.positions(), *position_tables_);
  for (int32_t i = 0; i < config_.layers; ++i) {
    const auto& layer = weights_.layers[i];
    const Norm head_norm =
        layer.head_norm ? NormOf(*layer.head_norm) : Norm{nullptr, config_.norm_epsilon};
    kernels_->NormMatMul(x, NormOf(layer.retention_norm), layer.projections, projections);
    for (const auto& fold_phase : fold_phases_) {
      kernels_->Retention(i, fold_phase, projections, *position_tables_, head_norm, *states_,
                          retained);
    }
    kernels_->MatMulAdd(retained, layer.output, x);
    kernels_->NormGatedMatMul(x, NormOf(layer.mlp_norm), layer.gate_up, config_.mlp_activation,
                              gated);
    kernels_->MatMulAdd(gated, layer.down, x);
  }
  // Logits use the same arithmetic for both classes of rows.
  kernels_->SetSampledRows(kLogitsRows);
  for (int32_t first = 0; first < plan_.outputs(); first += kLogitsRows) {
    const int32_t count = std::min(kLogitsRows, plan_.outputs() - first);
    const auto y = View(gathered_, count, config_.hidden_size);
    const auto logits = View(logits_, count, config_.vocab_size);
    kernels_->Gather(x, plan_.output_rows().subspan(first, count), y);
    kernels_->NormMatMul(y, NormOf(weights_.norm), weights_.output_projection(), logits);
    kernels_->Sample(logits, plan_.requests().subspan(first, count),
                     plan_.keep_in().subspan(first, count), *last_tokens_,
                     results.subspan(first, count));
  }
}

template <Kernels K>
absl::StatusOr<std::unique_ptr<RetNet<K>>> RetNet<K>::Create(std::unique_ptr<K> kernels,
                                                             const RetNetConfig& config,
                                                             DeviceWeights<K> weights,
                                                             ModelInfo info) {
  info.vocab_size = config.vocab_size;
  info.chunk = kChunk;
  info.steps_in_flight = K::kQueues ? kStepsInFlight : 1;
  info.parameters = config.Parameters();
  info.weight_bytes = weights.bytes();
  const RetentionShape shape = config.Retention(info.slots, info.base_type);
  info.base_bytes = kernels->BaseBytes(shape);
  info.tail_token_bytes = kernels->TailTokenBytes(shape);
  info.tail_type = K::kTailType;
  std::unique_ptr<RetNet> model(
      new RetNet(std::move(kernels), config, std::move(weights), std::move(info)));
  RETURN_IF_ERROR(model->Allocate());
  return model;
}

template <Kernels K>
auto RetNet<K>::StepBuffers(const RetNetConfig& config, int64_t max_rows)
    -> std::array<StepBuffer, 6> {
  const RetentionShape shape = config.Retention(/*slots=*/1);
  const int64_t logits_rows = std::min<int64_t>(kLogitsRows, max_rows);
  return {{{&RetNet::stream_, max_rows * config.hidden_size},
           {&RetNet::projections_, max_rows * shape.ProjectionColumns()},
           {&RetNet::retained_, max_rows * shape.OutputColumns()},
           {&RetNet::gated_, max_rows * config.intermediate_size},
           {&RetNet::gathered_, logits_rows * config.hidden_size},
           {&RetNet::logits_, logits_rows * config.vocab_size}}};
}

template <Kernels K>
int64_t RetNet<K>::StepBytes(const RetNetConfig& config, int64_t max_rows) {
  // Cosines and sines, and decay sums.
  int64_t numbers = max_rows * (config.key_dim + (config.normalized ? config.heads : 0));
  for (const StepBuffer& buffer : StepBuffers(config, max_rows)) numbers += buffer.numbers;
  return numbers * int64_t{sizeof(float)};
}

template <Kernels K>
absl::Status RetNet<K>::Allocate() {
  ASSIGN_OR_RETURN(states_, kernels_->AllocateStates(shape_, config_.decay));
  ASSIGN_OR_RETURN(last_tokens_, kernels_->AllocateLastTokens(info_.slots));
  ASSIGN_OR_RETURN(position_tables_,
                   kernels_->AllocatePositionTables(
                       info_.max_rows, config_.theta,
                       config_.normalized ? config_.decay : std::span<const float>()));
  for (const auto& [buffer, numbers] : StepBuffers(config_, info_.max_rows)) {
    ASSIGN_OR_RETURN(this->*buffer, kernels_->Allocate(numbers));
  }
  for (Step& step : steps_) step.results.reserve(info_.max_rows);
  fold_phases_.reserve(plan_.kFoldPhases);
  return kernels_->Replays() ? RecordDecodeSteps() : absl::OkStatus();
}

// Records one step for each number of rows that Launch pads decode steps to.
template <Kernels K>
absl::Status RetNet<K>::RecordDecodeSteps() {
  const int32_t most = std::min(info_.slots, info_.max_rows);
  for (int32_t rows = 1, recorded = 0; recorded < most; rows *= 2) {
    recorded = PaddedRows(rows);
    plan_.Clear();
    plan_.Pad(recorded);
    std::vector<SampleResult> results(recorded);
    RETURN_IF_ERROR(kernels_->Record(recorded, [&] { Forward(results); }));
  }
  return absl::OkStatus();
}

template <Kernels K>
absl::Status RetNet<K>::Launch(std::span<const Segment> segments) {
  RETURN_IF_ERROR(failure_);
  if (in_flight_ == kStepsInFlight) {
    return absl::FailedPreconditionError(absl::StrCat(in_flight_, " steps are in flight already"));
  }
  RETURN_IF_ERROR(plan_.Make(segments, slots_));
  Step& step = steps_[(oldest_ + in_flight_++) % kStepsInFlight];
  step.outputs = plan_.outputs();
  if (kernels_->Replays() && plan_.decodes()) {
    plan_.Pad(PaddedRows(plan_.rows()));
    step.results.resize(plan_.outputs());
    kernels_->Replay(plan_.rows(), [&] { Forward(step.results); });
  } else {
    step.results.resize(plan_.outputs());
    Forward(step.results);
  }
  kernels_->EndStep();
  return absl::OkStatus();
}

template <Kernels K>
absl::Status RetNet<K>::Wait(StepResult* result) {
  RETURN_IF_ERROR(failure_);
  if (in_flight_ == 0) return absl::FailedPreconditionError("no step is in flight");
  Step& step = steps_[oldest_];
  RETURN_IF_ERROR(failure_ = kernels_->WaitStep());
  step.results.resize(step.outputs);
  std::swap(result->results, step.results);
  oldest_ = (oldest_ + 1) % kStepsInFlight;
  --in_flight_;
  return absl::OkStatus();
}

template <Kernels K>
absl::Status RetNet<K>::Fork(SlotId from, SlotId to, int32_t position) {
  RETURN_IF_ERROR(slots_.Fork(from, to, position));
  kernels_->CopyTail(from, to, slots_[to].tail(), *states_);
  if (slots_[from].has_sampled) kernels_->CopyLastToken(from, to, *last_tokens_);
  return absl::OkStatus();
}

template <Kernels K>
absl::Status RetNet<K>::CheckStateBytes(StateShape shape, size_t bytes) const {
  if (bytes == StateBytes(shape)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a state of ", shape.position, " tokens takes ",
                                                 StateBytes(shape), " bytes, not ", bytes));
}

template <Kernels K>
absl::StatusOr<Ticket> RetNet<K>::StartRead(SlotId slot, std::span<std::byte> bytes) {
  RETURN_IF_ERROR(slots_.Check(slot));
  const StateShape shape = state(slot);
  RETURN_IF_ERROR(CheckStateBytes(shape, bytes.size()));
  const size_t base_bytes = shape.base_position > 0 ? info_.base_bytes : 0;
  if (base_bytes > 0) kernels_->ReadBase(*states_, slots_[slot].base, bytes.first(base_bytes));
  if (const int32_t tail = slots_[slot].tail(); tail > 0) {
    kernels_->ReadTail(*states_, slot, tail, bytes.subspan(base_bytes));
  }
  return NextTicket();
}

template <Kernels K>
absl::StatusOr<Ticket> RetNet<K>::StartWrite(std::span<const std::byte> bytes, StateShape shape,
                                             SlotId slot) {
  RETURN_IF_ERROR(CheckStateBytes(shape, bytes.size()));
  RETURN_IF_ERROR(slots_.Adopt(shape, slot));
  const size_t base_bytes = shape.base_position > 0 ? info_.base_bytes : 0;
  if (base_bytes > 0) kernels_->WriteBase(bytes.first(base_bytes), slots_[slot].base, *states_);
  if (const int32_t tail = slots_[slot].tail(); tail > 0) {
    kernels_->WriteTail(bytes.subspan(base_bytes), tail, slot, *states_);
  }
  return NextTicket();
}

template <Kernels K>
Ticket RetNet<K>::NextTicket() {
  const Ticket ticket = ++last_ticket_;
  kernels_->AfterTransfers([this, ticket](const absl::Status& status) {
    if (transfer_done_) transfer_done_(ticket, status);
  });
  return ticket;
}

}  // namespace retnet

#endif  // RETNET_MODELS_RETNET_H_
