// A model for tests: keeps the whole logits of every output row, and writes a step in one line.
#ifndef RETNET_TESTS_MODELS_TEST_MODEL_H_
#define RETNET_TESTS_MODELS_TEST_MODEL_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/model.h"

namespace retnet {

// Tokens to run next in a slot.
struct Feed {
  SlotId slot = 0;
  std::span<const TokenId> tokens;
};

struct StateCopy {
  Model::StateShape shape;
  std::vector<std::byte> bytes;
};

class TestModel {
 public:
  // `logits` is where the model's backend appends each row of logits before it answers it.
  // Tokens are fed as rows of `row_class`.
  TestModel(std::unique_ptr<Model> model, std::unique_ptr<std::vector<float>> logits,
            RowClass row_class = RowClass::kPrompt);

  Model* operator->() const { return model_.get(); }
  // The rows of logits of the steps since it was last cleared.
  std::vector<float>& logits() { return *logits_; }

  // One step over the feeds, each at its slot's position. Returns the logits of all rows, [rows,
  // vocabulary].
  std::vector<float> Step(std::span<const Feed> feeds);
  std::vector<float> Step(SlotId slot, std::span<const TokenId> tokens) {
    return Step(std::vector<Feed>{{slot, tokens}});
  }
  // Steps of at most `piece` tokens, one after the other.
  std::vector<float> Run(SlotId slot, std::span<const TokenId> tokens, int64_t piece);

  // Return when the transfer is over.
  StateCopy Read(SlotId slot) const;
  void Write(const StateCopy& state, SlotId slot) const;

  // Returns once the ticket has been reported, each once.
  void WaitFor(const absl::StatusOr<Ticket>& ticket) const;

 private:
  struct Reported {
    std::mutex mutex;
    std::condition_variable changed;
    std::multiset<Ticket> tickets;
  };

  std::unique_ptr<Reported> reported_ = std::make_unique<Reported>();
  std::unique_ptr<Model> model_;
  std::unique_ptr<std::vector<float>> logits_;
  RowClass row_class_;
};

// One of the ways to compute that this machine offers.
struct Backend {
  std::string name;
  bool rounds_activations = false;  // bf16 weights meet activations rounded to bf16
  bool rounds_tails = false;        // tails are bf16, whatever the weights are
  ElementType base_type = ElementType::kFloat32;
  bool exact_in_float32 = true;  // a row's bits, with fp32 weights, alone and among others
  bool whole_only = false;       // computes sequences in one step from position 0
  std::function<TestModel(const std::string& directory, int32_t slots, int32_t max_rows)> make;
};
// Those of the binary: ReferenceKernels (not under sanitizers) and CpuKernels with each instruction
// set there is, or CudaKernels with either class of rows and every type of bases.
std::vector<Backend> Backends();
// The same, whose models keep no logits, so that steps run on while others are launched;
// CudaKernels with and without recorded steps.
std::vector<Backend> UnrecordedBackends();
// ReferenceKernels with the parallel, the recurrent and the textbook's chunkwise form in place of
// its operator; none under sanitizers.
std::vector<Backend> TextbookForms();

// `count` tokens below `vocab_size`, the same for the same seed.
std::vector<TokenId> RandomTokens(int64_t count, int32_t vocab_size, uint32_t seed);

}  // namespace retnet

#endif  // RETNET_TESTS_MODELS_TEST_MODEL_H_
