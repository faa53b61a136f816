// A model for tests. It keeps all logits of every output row, and runs a step in one call.
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
  // `logits` is where the model's backend appends each row of logits before it samples or scores
  // it. Tokens are fed as rows of `row_class`.
  TestModel(std::unique_ptr<Model> model, std::unique_ptr<std::vector<float>> logits,
            RowClass row_class = RowClass::kPrompt);

  Model* operator->() const { return model_.get(); }
  // The rows of logits of all steps since it was last cleared.
  std::vector<float>& logits() { return *logits_; }

  // Runs one step over the feeds, each at the position of its slot. Returns the logits of all rows,
  // [rows, vocabulary].
  std::vector<float> Step(std::span<const Feed> feeds);
  std::vector<float> Step(SlotId slot, std::span<const TokenId> tokens) {
    return Step(std::vector<Feed>{{slot, tokens}});
  }
  // Runs steps of at most `piece` tokens until all tokens are done.
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

// A backend that this machine supports, for parameterised tests.
struct Backend {
  std::string name;
  bool rounds_activations = false;  // with bf16 weights, activations are rounded to bf16
  bool rounds_tails = false;        // tails are bf16, for weights of every type
  ElementType base_type = ElementType::kFloat32;
  bool exact_in_float32 = true;  // a row's bits, with fp32 weights, alone and among others
  bool whole_only = false;       // computes sequences in one step from position 0
  std::function<TestModel(const std::string& directory, int32_t slots, int32_t max_rows)> make;
};
// The backends of the test binary: ReferenceKernels (not under sanitizers) and CpuKernels with each
// supported instruction set, or CudaKernels with each class of rows and each type of bases.
std::vector<Backend> Backends();
// The same, but their models keep no logits, so that steps can overlap launches. CudaKernels with
// and without recorded steps.
std::vector<Backend> UnrecordedBackends();
// ReferenceKernels with the parallel, the recurrent and the textbook's chunkwise form in place of
// its operator; none under sanitizers.
std::vector<Backend> TextbookForms();

// `count` tokens below `vocab_size`, the same for the same seed.
std::vector<TokenId> RandomTokens(int64_t count, int32_t vocab_size, uint32_t seed);

}  // namespace retnet

#endif  // RETNET_TESTS_MODELS_TEST_MODEL_H_
