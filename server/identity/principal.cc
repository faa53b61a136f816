#include "server/identity/principal.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/dcheck.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

// Rounded up, so that who waits for so long does not come too early; but for what rounding adds.
double TenthsUp(double seconds) { return std::ceil(seconds * 10.0 - 1e-6) / 10.0; }

}  // namespace

Principal::Principal(std::string name, const PrincipalLimits& limits)
    : name_(std::move(name)),
      limits_(limits),
      bucket_(static_cast<double>(limits.tokens_per_minute)) {}

double Principal::weight() const {
  const MutexLock lock(&mu_);
  return limits_.weight;
}

void Principal::SetLimits(const PrincipalLimits& limits) {
  const MutexLock lock(&mu_);
  // The part of the minute that has been used stays used.
  const auto added = static_cast<double>(limits.tokens_per_minute - limits_.tokens_per_minute);
  bucket_ += added;
  limits_ = limits;
}

void Principal::Fill(absl::Time now) {
  const auto full = static_cast<double>(limits_.tokens_per_minute);
  const double minutes =
      filled_ == absl::InfinitePast() ? 0.0 : std::max(0.0, absl::ToDoubleMinutes(now - filled_));
  bucket_ = std::min(full, bucket_ + minutes * full);
  filled_ = std::max(filled_, now);
}

absl::Status Principal::CheckBounds(int32_t samples, absl::Time now) {
  if (limits_.requests > 0 && requests_ + samples > limits_.requests) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "you have ", requests_, " requests running or waiting and this one has ", samples,
        "; you may have ", limits_.requests, " at once. Try again when one of them has ended"));
  }
  if (limits_.tokens_per_minute > 0) {
    Fill(now);
    if (bucket_ <= 0.0) {
      const double seconds =
          (1.0 - bucket_) * 60.0 / static_cast<double>(limits_.tokens_per_minute);
      return absl::ResourceExhaustedError(absl::StrCat(
          "you have used your ", limits_.tokens_per_minute, " tokens a minute; try again in ",
          absl::StrFormat("%.1f", TenthsUp(seconds)), " s"));
    }
  }
  return absl::OkStatus();
}

absl::Status Principal::Check(absl::Time now) {
  const MutexLock lock(&mu_);
  return CheckBounds(1, now);
}

absl::Status Principal::FitPriority(int32_t* priority) const {
  const MutexLock lock(&mu_);
  if (!limits_.max_priority.has_value() || *priority <= *limits_.max_priority) {
    return absl::OkStatus();
  }
  if (*priority != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("priority is ", *priority, "; yours may be at most ", *limits_.max_priority));
  }
  *priority = *limits_.max_priority;
  return absl::OkStatus();
}

absl::Status Principal::Begin(int32_t samples, int64_t prompt_tokens, absl::Time now) {
  const MutexLock lock(&mu_);
  RETURN_IF_ERROR(CheckBounds(samples, now));
  requests_ += samples;
  if (limits_.tokens_per_minute > 0) bucket_ -= static_cast<double>(prompt_tokens);
  return absl::OkStatus();
}

void Principal::End(int32_t samples) {
  const MutexLock lock(&mu_);
  RETNET_DCHECK(samples <= requests_);
  requests_ -= samples;
}

void Principal::Spend(int64_t tokens, absl::Time now) {
  const MutexLock lock(&mu_);
  if (limits_.tokens_per_minute == 0) return;
  Fill(now);
  bucket_ -= static_cast<double>(tokens);
}

}  // namespace retnet
