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

LogitsAnswer AnswerAt(const FakeModelOptions& options, const Point& point,
                      const LogitsQuery& query) {
  const std::vector<float> logits = LogitsAt(options, point);
  double sum = 0.0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit));
  const auto logprob = [&](TokenId token) {
    return static_cast<float>(logits[token] - std::log(sum));
  };
  LogitsAnswer answer;
  answer.token = query.given != kNoToken ? query.given : SampleToken(logits, query.sampling);
  if (query.logprob || query.given != kNoToken) answer.logprob = logprob(answer.token);
  for (TokenId token = 0; token < options.vocab_size && query.top_logprobs > 0; ++token) {
    answer.top.push_back({.token = token, .logprob = logprob(token)});
  }
  std::stable_sort(answer.top.begin(), answer.top.end(),
                   [](const auto& a, const auto& b) { return a.logprob > b.logprob; });
  if (answer.top.size() > query.top_logprobs) answer.top.resize(query.top_logprobs);
  return answer;
}

uint64_t Checksum(std::span<const Segment> segments) {
  uint64_t hash = 0;
  for (const Segment& segment : segments) {
    for (TokenId token : segment.tokens) hash = Mix(hash, token);
    for (const RowOutput& output : segment.outputs) {
      hash = Mix(Mix(hash, output.row), output.query.sampling.draw);
      for (const LogitEdit& edit : output.query.sampling.edits) {
        hash = Mix(Mix(hash, edit.token), std::bit_cast<uint32_t>(edit.add));
      }
    }
  }
  return hash;
}

}  // namespace

LogitsAnswer FakeAnswer(const FakeModelOptions& options, std::span<const TokenId> history,
                        const LogitsQuery& query) {
  Point point;
  for (TokenId token : history) point.hash = Mix(point.hash, token);
  point.position = static_cast<int32_t>(history.size()) - 1;
  point.last = history.back();
  return AnswerAt(options, point, query);
}

void FakeModelControl::Hold() {
  std::lock_guard lock(mutex_);
  held_ = true;
}

void FakeModelControl::Release() {
  std::lock_guard lock(mutex_);
  held_ = false;
  changed_.notify_all();
}

void FakeModelControl::Pass() {
  std::lock_guard lock(mutex_);
  ++passes_;
  changed_.notify_all();
}

void FakeModelControl::AwaitHeldStep() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return (stopped_ && passes_ == 0) || !violations_.empty(); });
}

void FakeModelControl::FailAt(int64_t step, absl::Status status) {
  std::lock_guard lock(mutex_);
  fail_at_ = step;
  failure_ = std::move(status);
}

std::vector<std::vector<FakeModelControl::Rows>> FakeModelControl::steps() const {
  std::lock_guard lock(mutex_);
  return steps_;
}

int64_t FakeModelControl::step_count() const {
  std::lock_guard lock(mutex_);
  return static_cast<int64_t>(steps_.size());
}

std::vector<std::string> FakeModelControl::violations() const {
  std::lock_guard lock(mutex_);
  return violations_;
}

void FakeModelControl::AddStep(std::span<const Segment> segments) {
  std::vector<Rows> step;
  for (const Segment& segment : segments) {
    step.push_back({.slot = segment.slot,
                    .position = segment.position,
                    .rows = static_cast<int32_t>(segment.tokens.size()),
                    .row_class = segment.row_class});
  }
  std::lock_guard lock(mutex_);
  steps_.push_back(std::move(step));
}

absl::Status FakeModelControl::Violation(const std::string& rule) {
  std::lock_guard lock(mutex_);
  violations_.push_back(rule);
  changed_.notify_all();
  return absl::InvalidArgumentError(rule);
}

absl::Status FakeModelControl::EnterStep(int64_t step) {
  std::unique_lock lock(mutex_);
  if (held_) {
    stopped_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_ || passes_ > 0; });
    stopped_ = false;
    if (held_) --passes_;
  }
  return step == fail_at_ ? failure_ : absl::OkStatus();
}

FakeModel::FakeModel(FakeModelOptions options, std::shared_ptr<FakeModelControl> control)
    : options_(std::move(options)), control_(std::move(control)), slots_(options_.slots) {
  info_.name = "fake";
  info_.backend = "fake";
  info_.vocab_size = options_.vocab_size;
  info_.slots = options_.slots;
  info_.max_rows = options_.max_rows;
  info_.chunk = options_.chunk;
  info_.bos = options_.bos;
  info_.eos = options_.eos;
}

absl::Status FakeModel::CheckSegment(const Segment& segment) const {
  if (segment.slot < 0 || segment.slot >= info_.slots) return absl::OutOfRangeError("slot");
  const Slot& slot = slots_[segment.slot];
  if (segment.tokens.empty()) return absl::InvalidArgumentError("a segment without tokens");
  if (segment.position != slot.position) {
    return absl::InvalidArgumentError(absl::StrCat("slot ", segment.slot, " has seen ",
                                                   slot.position, " tokens, the segment is at ",
                                                   segment.position));
  }
  for (TokenId token : segment.tokens) {
    if (token < 0 || token >= info_.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("token ", token));
    }
  }
  if (segment.row_class == RowClass::kSampled &&
      (slot.sampled_position != segment.position || slot.last_sampled != segment.tokens[0])) {
    return absl::InvalidArgumentError("a row of class kSampled whose token was not sampled");
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
    if (output.query.given < kNoToken || output.query.given >= info_.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("given token ", output.query.given));
    }
    std::set<TokenId> edited;
    for (const LogitEdit& edit : output.query.sampling.edits) {
      if (edit.token < 0 || edit.token >= info_.vocab_size || std::isnan(edit.add) ||
          !(edit.repetition > 0) || !edited.insert(edit.token).second) {
        return absl::InvalidArgumentError("an edit that is wrong or there twice");
      }
    }
  }
  return absl::OkStatus();
}

absl::Status FakeModel::Launch(std::span<const Segment> segments) {
  RETURN_IF_ERROR(failure_);
  if (!in_flight_.empty()) return control_->Violation("a second step in flight");
  std::set<SlotId> slots;
  size_t rows = 0;
  bool given = false;
  for (const Segment& segment : segments) {
    if (given && segment.row_class == RowClass::kSampled) {
      return control_->Violation("sampled tokens behind given ones");
    }
    given = segment.row_class == RowClass::kGiven;
    if (absl::Status status = CheckSegment(segment); !status.ok()) {
      return control_->Violation(status.ToString());
    }
    if (!slots.insert(segment.slot).second) return control_->Violation("a slot twice in a step");
    rows += segment.tokens.size();
  }
  if (rows == 0 || rows > info_.max_rows) {
    return control_->Violation(absl::StrCat("a step of ", rows, " rows"));
  }
  in_flight_.assign(segments.begin(), segments.end());
  checksum_ = Checksum(segments);
  control_->AddStep(segments);
  return absl::OkStatus();
}

void FakeModel::Compute(const Segment& segment, std::vector<LogitsAnswer>* answers) {
  Slot& slot = slots_[segment.slot];
  size_t next_output = 0;
  for (int32_t row = 0; row < segment.tokens.size(); ++row) {
    const TokenId token = segment.tokens[row];
    slot.hash = Mix(slot.hash, token);
    const Point point = {.hash = slot.hash, .position = slot.position, .last = token};
    ++slot.position;
    if (next_output == segment.outputs.size() || segment.outputs[next_output].row != row) continue;
    const LogitsQuery& query = segment.outputs[next_output++].query;
    answers->push_back(AnswerAt(options_, point, query));
    if (query.given != kNoToken) continue;
    slot.last_sampled = answers->back().token;
    slot.sampled_position = slot.position;
  }
}

absl::Status FakeModel::Wait(StepResult* result) {
  RETURN_IF_ERROR(failure_);
  if (in_flight_.empty()) return control_->Violation("Wait without a step in flight");
  failure_ = control_->EnterStep(waited_++);
  RETURN_IF_ERROR(failure_);
  absl::Duration time = options_.step_time;
  for (const Segment& segment : in_flight_) time += segment.tokens.size() * options_.row_time;
  absl::SleepFor(time);
  if (Checksum(in_flight_) != checksum_) {
    return control_->Violation("spans of a step changed while it was in flight");
  }
  result->answers.clear();
  for (const Segment& segment : in_flight_) Compute(segment, &result->answers);
  in_flight_.clear();
  return absl::OkStatus();
}

absl::Status FakeModel::Clear(SlotId slot) {
  RETURN_IF_ERROR(failure_);
  if (slot < 0 || slot >= info_.slots) return control_->Violation("Clear of an unknown slot");
  slots_[slot] = Slot();
  return absl::OkStatus();
}

absl::Status FakeModel::Fork(SlotId, SlotId) { return absl::UnimplementedError("Fork"); }
absl::Status FakeModel::Truncate(SlotId, int32_t) { return absl::UnimplementedError("Truncate"); }
Model::StateShape FakeModel::state(SlotId slot) const {
  return {.base_position = 0, .position = slots_.at(slot).position};
}
absl::StatusOr<Ticket> FakeModel::StartRead(SlotId, std::span<std::byte>) {
  return absl::UnimplementedError("StartRead");
}
absl::StatusOr<Ticket> FakeModel::StartWrite(std::span<const std::byte>, StateShape, SlotId) {
  return absl::UnimplementedError("StartWrite");
}

}  // namespace retnet
