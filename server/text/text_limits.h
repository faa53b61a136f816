// Bounds of the texts that clients send.
#ifndef RETNET_SERVER_TEXT_TEXT_LIMITS_H_
#define RETNET_SERVER_TEXT_TEXT_LIMITS_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace retnet {

struct TextLimits {
  int64_t max_text_bytes = 8 << 20;  // of one text, and of one turn of a conversation
  // Of all requests, from their arrival to their end: their messages, and their prompts' tokens.
  int64_t texts_in_progress_bytes = 256 << 20;
  // Text that offers no place to be cut is tokenized at once, which takes 250 times its memory.
  int64_t max_uncut_bytes = 1 << 20;
};

// Where one answer would not fit the 4 MiB that a gRPC client receives by default.
inline constexpr size_t kMaxAnswerBytes = 4 << 20;

// INVALID_ARGUMENT, saying what to do instead.
inline absl::Status CheckTextBytes(std::string_view field, int64_t bytes, const TextLimits& limits,
                                   std::string_view advice) {
  if (bytes <= limits.max_text_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(absl::string_view(field.data(), field.size()), " has ", bytes,
                   " bytes; at most max_text_bytes = ", limits.max_text_bytes,
                   " are allowed: ", absl::string_view(advice.data(), advice.size())));
}

// INVALID_ARGUMENT: more than max_uncut_bytes follow byte `from` without a cut.
inline absl::Status UncutText(std::string_view field, size_t from, const TextLimits& limits) {
  return absl::InvalidArgumentError(absl::StrCat(
      absl::string_view(field.data(), field.size()),
      " has more than max_uncut_bytes = ", limits.max_uncut_bytes, " bytes, from byte ", from,
      " on, without a place at which this vocabulary can cut a text, as there is between most "
      "words; send token_ids instead"));
}

// The bytes that all requests in progress may take together. Beyond it one is refused at once: one
// that waited would take its memory all the same. Thread-safe. A Hold may outlive the budget: the
// engine's threads drop the last reference to a call when they come to it.
class TextBudget {
 public:
  explicit TextBudget(int64_t bytes) : bytes_(bytes) {}

  // A share of the budget, given back when it is destroyed.
  class Hold {
   public:
    Hold() = default;
    Hold(Hold&& other) noexcept { *this = std::move(other); }
    Hold& operator=(Hold&& other) noexcept {
      std::swap(used_, other.used_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Hold() { Keep(0); }

    int64_t bytes() const { return bytes_; }
    // Gives back all but `bytes`.
    void Keep(int64_t bytes) {
      if (used_ == nullptr || bytes >= bytes_) return;
      *used_ -= bytes_ - bytes;
      bytes_ = bytes;
    }
    // Takes over what the other one holds, of the same budget.
    void Add(Hold other) {
      if (used_ == nullptr) return std::swap(*this, other);
      bytes_ += std::exchange(other.bytes_, 0);
    }

   private:
    friend class TextBudget;
    Hold(std::shared_ptr<std::atomic<int64_t>> used, int64_t bytes)
        : used_(std::move(used)), bytes_(bytes) {}
    std::shared_ptr<std::atomic<int64_t>> used_;  // the budget's
    int64_t bytes_ = 0;
  };

  // A request that is larger than the whole budget runs when it is alone. RESOURCE_EXHAUSTED.
  absl::StatusOr<Hold> Take(int64_t bytes) {
    const int64_t taken = std::min(bytes, bytes_);
    if (used_->fetch_add(taken) + taken <= bytes_) return Hold(used_, taken);
    *used_ -= taken;
    return absl::ResourceExhaustedError(absl::StrCat(
        "the texts and tokens of the requests in progress have ", used_->load(),
        " bytes, and this one ", bytes, "; together they may have ", bytes_, ": try again"));
  }
  int64_t used() const { return *used_; }

 private:
  const int64_t bytes_;
  const std::shared_ptr<std::atomic<int64_t>> used_ = std::make_shared<std::atomic<int64_t>>(0);
};

}  // namespace retnet

#endif  // RETNET_SERVER_TEXT_TEXT_LIMITS_H_
