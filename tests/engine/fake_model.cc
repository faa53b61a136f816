#include "tests/engine/fake_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

// The finaliser of splitmix64 over both.
uint64_t Mix(uint64_t hash, uint64_t value) {
  uint64_t x = hash * 0x9e3779b97f4a7c15u + value + 0x2545f4914f6cdd1du;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The hash of a state and one token more. As bytes of fp32 numbers it is finite.
uint64_t MixState(uint64_t hash, uint64_t entry) { return Mix(hash, entry) & 0xBFFFFFFFBFFFFFFFu; }

// In (0, 1).
double Uniform(uint64_t hash) { return (static_cast<double>(hash >> 11) + 0.5) * 0x1p-53; }

// The state after the token `last` at `position`, as far as logits depend on it.
struct Point {
  uint64_t hash = 0;
  int32_t position = 0;
  TokenId last = kNoToken;
};

std::vector<float> LogitsAt(const FakeModelOptions& options, const Point& point) {
  std::vector<float> logits(options.vocab_size);
  for (TokenId token = 0; token < options.vocab_size; ++token) {
    logits[token] = static_cast<float>(8.0 * Uniform(Mix(point.hash, token)) - 4.0);
  }
  if (options.next) logits.at(options.next(point.position, point.last)) += 20.0f;
  return logits;
}

TokenId SampleToken(const std::vector<float>& logits, const Sampling& sampling) {
  std::vector<float> edited = logits;
  for (const LogitEdit& edit : sampling.edits) {
    float& logit = edited.at(edit.token);
    logit = logit > 0 ? logit / edit.repetition : logit * edit.repetition;
    logit += edit.add;
  }
  // Any parameter that is passed on wrongly changes the noise.
  uint64_t key = Mix(sampling.seed, sampling.draw);
  key = Mix(key, static_cast<uint64_t>(sampling.top_k));
  for (float value : {sampling.temperature, sampling.top_p, sampling.min_p}) {
    key = Mix(key, std::bit_cast<uint32_t>(value));
  }
  TokenId best = kNoToken;
  double best_score = 0.0;
  for (size_t i = 0; i < edited.size(); ++i) {
    double score = edited[i];
    if (sampling.temperature > 0) {
      score = score / sampling.temperature - std::log(-std::log(Uniform(Mix(key, i))));
    }
    if (best == kNoToken || score > best_score) {
      best = static_cast<TokenId>(i);
      best_score = score;
    }
  }
  return best;
}

SampleResult AnswerAt(const FakeModelOptions& options, const Point& point,
                      const SampleRequest& query) {
  if (options.not_finite && options.not_finite(point.position, point.last)) return {};
  const std::vector<float> logits = LogitsAt(options, point);
  double sum = 0.0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit));
  const auto logprob = [&](TokenId token) {
    return static_cast<float>(logits[token] - std::log(sum));
  };
  SampleResult result;
  result.token =
      query.scored_token != kNoToken ? query.scored_token : SampleToken(logits, query.sampling);
  if (query.logprob || query.scored_token != kNoToken) result.logprob = logprob(result.token);
  for (TokenId token = 0; token < options.vocab_size && query.top_logprobs > 0; ++token) {
    result.top.push_back({.token = token, .logprob = logprob(token)});
  }
  std::stable_sort(result.top.begin(), result.top.end(),
                   [](const auto& a, const auto& b) { return a.logprob > b.logprob; });
  if (result.top.size() > query.top_logprobs) result.top.resize(query.top_logprobs);
  return result;
}

uint64_t TailEntry(const FakeModelOptions& options, TokenId token, RowClass row_class) {
  const bool marked = options.class_sensitive && row_class == RowClass::kSampled;
  return static_cast<uint64_t>(token) | (marked ? uint64_t{1} << 32 : 0);
}

}  // namespace

SampleResult FakeResult(const FakeModelOptions& options, std::span<const TokenId> history,
                        const SampleRequest& query,
                        const std::function<RowClass(int32_t position)>& class_at) {
  Point point;
  for (int32_t i = 0; i < history.size(); ++i) {
    const RowClass row_class = class_at ? class_at(i) : RowClass::kPrompt;
    point.hash = MixState(point.hash, TailEntry(options, history[i], row_class));
  }
  point.position = static_cast<int32_t>(history.size()) - 1;
  point.last = history.back();
  return AnswerAt(options, point, query);
}

FakeModel::FakeModel(FakeModelOptions options, std::shared_ptr<FakeModelControl> control)
    : options_(std::move(options)), control_(std::move(control)), slots_(options_.slots) {
  info_.name = "fake";
  info_.backend = "fake";
  info_.vocab_size = options_.vocab_size;
  info_.slots = options_.slots;
  info_.max_rows = options_.max_rows;
  info_.chunk = options_.chunk;
  info_.steps_in_flight = options_.steps_in_flight;
  info_.bos = options_.bos;
  info_.eos = options_.eos;
  info_.base_bytes = sizeof(uint64_t);
  info_.tail_token_bytes = sizeof(uint64_t);
}

FakeModel::~FakeModel() {
  for (std::thread& transfer : transfers_) transfer.join();
}

uint64_t FakeModel::Slot::hash() const {
  uint64_t hash = base;
  for (const uint64_t entry : tail) hash = MixState(hash, entry);
  return hash;
}

absl::Status FakeModel::CheckSlot(SlotId slot) const {
  if (slot < 0 || slot >= info_.slots) {
    return control_->Violation(absl::StrCat("slot ", slot, " does not exist"));
  }
  if (slots_[slot].transfer != nullptr && *slots_[slot].transfer) {
    return control_->Violation(absl::StrCat("slot ", slot, " is named during a transfer"));
  }
  return absl::OkStatus();
}

absl::Status FakeModel::CheckSegment(const Segment& segment) const {
  RETURN_IF_ERROR(CheckSlot(segment.slot));
  const Slot& slot = slots_[segment.slot];
  if (segment.tokens.empty()) return absl::InvalidArgumentError("a segment without tokens");
  if (segment.position != slot.position()) {
    return absl::InvalidArgumentError(absl::StrCat("slot ", segment.slot, " has seen ",
                                                   slot.position(), " tokens, the segment is at ",
                                                   segment.position));
  }
  for (TokenId token : segment.tokens) {
    if (token == kLastSampled && segment.tokens.size() == 1 && slot.last_sampled != kNoToken) break;
    if (token < 0 || token >= info_.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("token ", token));
    }
  }
  return CheckOutputs(segment);
}

absl::Status FakeModel::CheckOutputs(const Segment& segment) const {
  int32_t row_before = -1;
  for (const RowOutput& output : segment.outputs) {
    if (output.row <= row_before || output.row >= segment.tokens.size()) {
      return absl::InvalidArgumentError("rows of outputs that do not ascend within the segment");
    }
    row_before = output.row;
    if (output.request.scored_token < kNoToken || output.request.scored_token >= info_.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("given token ", output.request.scored_token));
    }
    std::set<TokenId> edited;
    for (const LogitEdit& edit : output.request.sampling.edits) {
      if (edit.token < 0 || edit.token >= info_.vocab_size || std::isnan(edit.add) ||
          !(edit.repetition > 0) || !edited.insert(edit.token).second) {
        return absl::InvalidArgumentError("an edit that is wrong or there twice");
      }
    }
  }
  return absl::OkStatus();
}

absl::Status FakeModel::CheckStep(std::span<const Segment> segments) const {
  std::set<SlotId> slots;
  size_t rows = 0;
  bool given = false;
  for (const Segment& segment : segments) {
    if (given && segment.row_class == RowClass::kSampled) {
      return absl::InvalidArgumentError("sampled tokens behind given ones");
    }
    given = segment.row_class == RowClass::kPrompt;
    RETURN_IF_ERROR(CheckSegment(segment));
    if (!slots.insert(segment.slot).second) {
      return absl::InvalidArgumentError("a slot twice in a step");
    }
    rows += segment.tokens.size();
  }
  if (rows > 0 && rows <= info_.max_rows) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a step of ", rows, " rows"));
}

// Everything is computed here, since calls take effect in their order; Wait tells it.
absl::Status FakeModel::Launch(std::span<const Segment> segments) {
  RETURN_IF_ERROR(failure_);
  if (in_flight_.size() == options_.steps_in_flight) {
    return control_->Violation(absl::StrCat("more than ", in_flight_.size(), " steps in flight"));
  }
  if (absl::Status status = CheckStep(segments); !status.ok()) {
    return control_->Violation(status.ToString());
  }
  Step& step = in_flight_.emplace_back();
  step.time = options_.step_time;
  for (const Segment& segment : segments) {
    step.time += segment.tokens.size() * options_.row_time;
    Compute(segment, &step.results);
  }
  control_->AddStep(segments);
  return absl::OkStatus();
}

void FakeModel::Compute(const Segment& segment, std::vector<SampleResult>* results) {
  Slot& slot = slots_[segment.slot];
  size_t next_output = 0;
  for (int32_t row = 0; row < segment.tokens.size(); ++row) {
    const TokenId given = segment.tokens[row];
    const TokenId token = given == kLastSampled ? slot.last_sampled : given;
    if (slot.tail.size() == info_.chunk) {
      slot.base = slot.hash();
      slot.base_position += info_.chunk;
      slot.tail.clear();
    }
    const int32_t position = slot.position();
    slot.tail.push_back(TailEntry(options_, token, segment.row_class));
    if (next_output == segment.outputs.size() || segment.outputs[next_output].row != row) continue;
    const SampleRequest& query = segment.outputs[next_output++].request;
    const Point point = {.hash = slot.hash(), .position = position, .last = token};
    results->push_back(AnswerAt(options_, point, query));
    if (query.scored_token == kNoToken) slot.last_sampled = std::max(results->back().token, 0);
  }
}

absl::Status FakeModel::Wait(StepResult* result) {
  RETURN_IF_ERROR(failure_);
  if (in_flight_.empty()) return control_->Violation("Wait without a step in flight");
  failure_ = control_->EnterStep(waited_++);
  RETURN_IF_ERROR(failure_);
  absl::SleepFor(in_flight_.front().time);
  result->results = std::move(in_flight_.front().results);
  in_flight_.pop_front();
  return absl::OkStatus();
}

absl::Status FakeModel::Clear(SlotId slot) {
  RETURN_IF_ERROR(failure_);
  RETURN_IF_ERROR(CheckSlot(slot));
  slots_[slot] = Slot();
  return absl::OkStatus();
}

absl::Status FakeModel::Fork(SlotId from, SlotId to, int32_t position) {
  RETURN_IF_ERROR(failure_);
  RETURN_IF_ERROR(CheckSlot(from));
  RETURN_IF_ERROR(CheckSlot(to));
  if (slots_[to].position() != 0 || from == to) return control_->Violation("Fork to a used slot");
  slots_[to] = slots_[from];
  return Truncate(to, position);
}

absl::Status FakeModel::Truncate(SlotId id, int32_t position) {
  RETURN_IF_ERROR(failure_);
  RETURN_IF_ERROR(CheckSlot(id));
  Slot& slot = slots_[id];
  if (position < slot.base_position || position > slot.position()) {
    return control_->Violation(absl::StrCat("Truncate to ", position, " outside ",
                                            slot.base_position, " to ", slot.position()));
  }
  slot.tail.resize(position - slot.base_position);
  return absl::OkStatus();
}

Model::StateShape FakeModel::state(SlotId slot) const {
  return {.base_position = slots_.at(slot).base_position, .position = slots_.at(slot).position()};
}

// The bytes are there at once; what runs is the time until the model says so.
Ticket FakeModel::Transfer(SlotId slot) {
  const Ticket ticket = ++last_ticket_;
  if (!options_.slow_transfers) {
    transfer_done_(ticket, absl::OkStatus());
    return ticket;
  }
  auto running = std::make_shared<std::atomic<bool>>(true);
  slots_[slot].transfer = running;
  transfers_.emplace_back([ticket, running, done = transfer_done_] {
    absl::SleepFor(absl::Microseconds(200));
    *running = false;
    done(ticket, absl::OkStatus());
  });
  return ticket;
}

absl::StatusOr<Ticket> FakeModel::StartRead(SlotId id, std::span<std::byte> bytes) {
  RETURN_IF_ERROR(failure_);
  RETURN_IF_ERROR(CheckSlot(id));
  const Slot& slot = slots_[id];
  if (bytes.size() != StateBytes(state(id))) return control_->Violation("a read of a wrong size");
  std::vector<uint64_t> numbers = slot.tail;
  if (slot.base_position > 0) numbers.insert(numbers.begin(), slot.base);
  std::copy_n(std::as_bytes(std::span(numbers)).begin(), bytes.size(), bytes.begin());
  return Transfer(id);
}

absl::StatusOr<Ticket> FakeModel::StartWrite(std::span<const std::byte> bytes, StateShape shape,
                                             SlotId id) {
  RETURN_IF_ERROR(failure_);
  RETURN_IF_ERROR(CheckSlot(id));
  if (slots_[id].position() != 0) return control_->Violation("a write to a used slot");
  if (bytes.size() != StateBytes(shape)) return control_->Violation("a write of a wrong size");
  std::vector<uint64_t> numbers(bytes.size() / sizeof(uint64_t));
  std::copy(bytes.begin(), bytes.end(), std::as_writable_bytes(std::span(numbers)).begin());
  Slot& slot = slots_[id];
  slot.base_position = shape.base_position;
  if (shape.base_position > 0) {
    slot.base = numbers.front();
    numbers.erase(numbers.begin());
  }
  slot.tail = std::move(numbers);
  return Transfer(id);
}

}  // namespace retnet
