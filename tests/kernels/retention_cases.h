// The contract of Retention on every backend: it is the function of the textbook, and the bits do
// not depend on how a state was made. Instantiate the suite Retention with backends like those of
// backends.h.
#ifndef RETNET_TESTS_KERNELS_RETENTION_CASES_H_
#define RETNET_TESTS_KERNELS_RETENTION_CASES_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/element.h"
#include "kernels/kernels.h"
#include "kernels/reference/retention_forms.h"
#include "tests/kernels/backends.h"
#include "tests/kernels/retention_textbook.h"
#include "tests/kernels/retention_world.h"

namespace retnet {

inline constexpr int32_t kSlots = 8;
inline constexpr int32_t kTokens = 150;  // two folds and some

inline std::vector<RetentionShape> Shapes() {
  return {
      {.layers = 2, .heads = 3, .kv_heads = 3, .key_dim = 6, .value_dim = 5, .slots = kSlots},
      {.layers = 1,
       .heads = 4,
       .kv_heads = 2,
       .key_dim = 10,
       .value_dim = 17,
       .gated = false,
       .slots = kSlots},
      {.layers = 1, .heads = 5, .kv_heads = 1, .key_dim = 2, .value_dim = 1, .slots = kSlots},
      {.layers = 1, .heads = 3, .kv_heads = 3, .key_dim = 34, .value_dim = 150, .slots = kSlots},
  };
}

template <typename Backend>
class Retention : public BackendTest<Backend> {
 protected:
  using World = RetentionWorld<typename Backend::Type>;
  using Parts = std::vector<typename World::Part>;

  static World MakeWorld(RetentionShape shape, WorldOptions options = {}, int32_t threads = 2) {
    shape.base_type = Backend::kBaseType;
    return World(Backend::Make(threads), shape, options);
  }
  // The outputs of a text's first tokens, all in one step, in slot 0 of a new world.
  static std::vector<float> Whole(const RetentionShape& shape, uint32_t text, int32_t tokens) {
    return MakeWorld(shape).Step({{0, text, tokens}});
  }
  static void Append(const std::vector<float>& more, std::vector<float>* outputs) {
    outputs->insert(outputs->end(), more.begin(), more.end());
  }
  // Runs the parts in random order in one step and appends the outputs of each slot to its earlier
  // ones.
  static void StepShuffled(World& world, Parts parts, const RetentionShape& shape,
                           std::mt19937& random, std::vector<std::vector<float>>* of_slots) {
    std::shuffle(parts.begin(), parts.end(), random);
    const std::vector<float> outputs = world.Step(parts);
    auto next = outputs.begin();
    for (const auto& part : parts) {
      const auto end = next + part.tokens * shape.layers * shape.OutputColumns();
      (*of_slots)[part.slot].insert((*of_slots)[part.slot].end(), next, end);
      next = end;
    }
  }
  // The part of `outputs` that belongs to tokens from `first` on.
  static std::vector<float> From(const RetentionShape& shape, int32_t first,
                                 const std::vector<float>& outputs) {
    return {outputs.begin() + first * shape.layers * shape.OutputColumns(), outputs.end()};
  }
};
TYPED_TEST_SUITE_P(Retention);

// Bit for bit, so that NaN equals nothing and −0 is not 0.
inline void ExpectSameBits(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_FALSE(std::isnan(a[i])) << "at " << i;
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
        << "at " << i << ": " << a[i] << " and " << b[i];
  }
}

inline std::string Describe(const RetentionShape& shape) {
  return std::to_string(shape.heads) + " heads of " + std::to_string(shape.key_dim) + " by " +
         std::to_string(shape.value_dim);
}

// `outputs` are those of a world with these options, of the first kTokens of text 1.
template <typename Backend>
void ExpectTextbook(const RetentionShape& shape, const WorldOptions& options,
                    const std::vector<float>& outputs) {
  const Textbook textbook(shape, /*text=*/1, kTokens, options, Backend::RoundToTail);
  for (int32_t head = 0; head < shape.heads; ++head) {
    const HeadTokens tokens = textbook.Head(head);
    const std::vector<double> forms[] = {ParallelRetention(tokens), RecurrentRetention(tokens),
                                         ChunkwiseRetention(tokens, kChunk)};
    for (const std::vector<double>& form : forms) {
      const std::vector<double> expected = textbook.Finished(head, form);
      double squares = 0;
      double error_squares = 0;
      double worst = 0;
      for (size_t i = 0; i < expected.size(); ++i) {
        const int64_t row = i / shape.value_dim * shape.layers;
        const float output =
            outputs[row * shape.OutputColumns() + head * shape.value_dim + i % shape.value_dim];
        squares += expected[i] * expected[i];
        const double error = std::abs(output - expected[i]);
        error_squares += error * error;
        worst = error <= worst ? worst : error;  // NaN becomes the worst and stays
      }
      const RetentionError bound = Backend::RetentionErrorBound();
      EXPECT_LE(worst, bound.worst * std::sqrt(squares / expected.size()));
      EXPECT_LE(std::sqrt(error_squares), bound.mean * std::sqrt(squares));
    }
  }
}

TYPED_TEST_P(Retention, IsTheTextbooksFunction) {
  for (const RetentionShape& shape : Shapes()) {
    for (const WorldOptions options : {WorldOptions{.normalized = false}, WorldOptions{},
                                       WorldOptions{.first_position = 102400}}) {
      SCOPED_TRACE(Describe(shape) + " from " + std::to_string(options.first_position) +
                   (options.normalized ? ", normalized" : ""));
      auto world = this->MakeWorld(shape, options);
      ExpectTextbook<TypeParam>(shape, options, world.Step({{0, /*text=*/1, kTokens}}));
    }
  }
}

TYPED_TEST_P(Retention, CutAnywhereIsWhole) {
  std::mt19937 random(1);
  for (const RetentionShape& shape : Shapes()) {
    SCOPED_TRACE(Describe(shape));
    const std::vector<float> whole = this->Whole(shape, 1, kTokens);
    for (int32_t longest : {1, 3, 50, 100}) {
      auto world = this->MakeWorld(shape);
      std::vector<float> outputs;
      while (world.position(0) < kTokens) {
        const int32_t tokens = static_cast<int32_t>(1 + random() % longest);
        this->Append(world.Step({{0, 1, std::min(tokens, kTokens - world.position(0))}}), &outputs);
      }
      ExpectSameBits(outputs, whole);
    }
  }
}

TYPED_TEST_P(Retention, BatchedInAnySlotsIsAlone) {
  std::mt19937 random(2);
  for (const RetentionShape& shape : Shapes()) {
    SCOPED_TRACE(Describe(shape));
    constexpr int32_t kTexts = 4;
    std::vector<std::vector<float>> alone;
    for (uint32_t text = 0; text < kTexts; ++text) {
      alone.push_back(this->Whole(shape, text, kTokens));
    }
    std::vector<int32_t> slots(kSlots);
    std::iota(slots.begin(), slots.end(), 0);
    std::shuffle(slots.begin(), slots.end(), random);
    auto world = this->MakeWorld(shape);
    std::vector<std::vector<float>> batched(kSlots);
    const auto unfinished = [&] {
      return std::any_of(slots.begin(), slots.begin() + kTexts,
                         [&](int32_t slot) { return world.position(slot) < kTokens; });
    };
    while (unfinished()) {
      typename TestFixture::Parts parts;
      for (uint32_t text = 0; text < kTexts; ++text) {
        const int32_t left = kTokens - world.position(slots[text]);
        const int32_t tokens = static_cast<int32_t>(random() % 2 == 0 ? 1 : random() % 90);
        if (std::min(tokens, left) == 0) continue;
        parts.push_back({slots[text], text, std::min(tokens, left)});
      }
      this->StepShuffled(world, parts, shape, random, &batched);
    }
    for (uint32_t text = 0; text < kTexts; ++text) {
      ExpectSameBits(batched[slots[text]], alone[text]);
    }
  }
}

TYPED_TEST_P(Retention, ResumedFromBytesIsNeverStopped) {
  for (const RetentionShape& shape : Shapes()) {
    SCOPED_TRACE(Describe(shape));
    const std::vector<float> whole = this->Whole(shape, 1, kTokens);
    for (int32_t stop : {1, 63, 64, 65, 128, 140}) {
      auto before = this->MakeWorld(shape);
      before.Step({{3, 1, stop}});
      const auto snapshot = before.Read(3);
      auto after = this->MakeWorld(shape);
      after.Step({{0, 7, 100}});  // tokens of another text
      after.Write(snapshot, 5);
      EXPECT_EQ(after.Read(5).base, snapshot.base);
      EXPECT_EQ(after.Read(5).tail, snapshot.tail);
      ExpectSameBits(after.Step({{5, 1, kTokens - stop}}), this->From(shape, stop, whole));
    }
  }
}

TYPED_TEST_P(Retention, TakenBackAndRedoneIsNeverDone) {
  for (const RetentionShape& shape : Shapes()) {
    SCOPED_TRACE(Describe(shape));
    const std::vector<float> whole = this->Whole(shape, 1, kTokens);
    // At 64 a draft folds, and what remains is a base at 64 and an empty tail.
    for (int32_t kept : {0, 1, 30, 63, 64, 100}) {
      auto world = this->MakeWorld(shape);
      if (kept > 0) world.Step({{0, 1, kept}});
      const int32_t draft = std::min(9, kChunk - kept % kChunk);
      world.Step({{0, /*text=*/2, draft}});
      world.Truncate(0, kept);
      ExpectSameBits(world.Step({{0, 1, kTokens - kept}}), this->From(shape, kept, whole));
    }
  }
}

TYPED_TEST_P(Retention, FoldsInPlaceAsIntoAFreeBase) {
  for (const RetentionShape& shape : Shapes()) {
    SCOPED_TRACE(Describe(shape));
    auto in_place = this->MakeWorld(shape);
    auto free = this->MakeWorld(shape, {.folds_into_free_bases = true});
    ExpectSameBits(free.Step({{0, 1, 300}}), in_place.Step({{0, 1, 300}}));
    EXPECT_EQ(free.Read(0).base, in_place.Read(0).base);
    EXPECT_EQ(free.Read(0).tail, in_place.Read(0).tail);
  }
}

// Rounds fp32 numbers to another type and converts them back.
inline std::vector<std::byte> Converted(const std::vector<std::byte>& bytes, ElementType from,
                                        ElementType to) {
  const auto numbers = static_cast<int64_t>(bytes.size() / SizeOf(from));
  std::vector<std::byte> converted(numbers * SizeOf(to));
  for (int64_t i = 0; i < numbers; ++i) {
    SetElement(ElementAt({from, bytes.data(), 1, numbers}, i), to, i, converted.data());
  }
  return converted;
}

// A base of any type equals an fp32 base whose numbers are rounded at each fold, and at no other
// time.
TYPED_TEST_P(Retention, RoundsBasesAtFoldsAlone) {
  constexpr ElementType kType = TypeParam::kBaseType;
  for (const RetentionShape& shape : Shapes()) {
    SCOPED_TRACE(Describe(shape));
    auto world = this->MakeWorld(shape);
    typename TestFixture::World wide(TypeParam::Make(/*threads=*/2), shape);
    ExpectSameBits(world.Step({{0, 1, kChunk}}), wide.Step({{0, 1, kChunk}}));
    for (int chunk = 0; chunk < 3; ++chunk) {
      world.Step({{0, 1, 1}});  // folds
      wide.Step({{0, 1, 1}});
      auto snapshot = wide.Read(0);
      const auto rounded = Converted(snapshot.base, ElementType::kFloat32, kType);
      ASSERT_EQ(world.Read(0).base, rounded);
      snapshot.base = Converted(rounded, kType, ElementType::kFloat32);
      wide.Write(snapshot, 0);
      ExpectSameBits(world.Step({{0, 1, kChunk - 1}}), wide.Step({{0, 1, kChunk - 1}}));
    }
  }
}

TYPED_TEST_P(Retention, SlotsThatShareABaseGoTheirOwnWays) {
  for (const RetentionShape& shape : Shapes()) {
    SCOPED_TRACE(Describe(shape));
    auto world = this->MakeWorld(shape);
    world.Step({{0, 1, 70}});
    world.Fork(0, 1);
    world.Fork(0, 2);
    // All three read one base; slot 2 folds it elsewhere, then slot 1, then slot 0 in place.
    const std::vector<float> together =
        world.Step({{2, /*text=*/3, 80}, {0, /*text=*/1, 5}, {1, /*text=*/1, 2}});
    auto forked = this->MakeWorld(shape);
    forked.Step({{0, 1, 70}});
    const std::vector<float> other = forked.Step({{0, 3, 80}});
    const std::vector<float> whole = this->Whole(shape, 1, kTokens);
    ExpectSameBits({together.begin(), together.begin() + other.size()}, other);
    const std::vector<float> rest = this->From(shape, 80, together);
    const std::vector<float> expected = this->From(shape, 70, whole);
    const int64_t row = shape.layers * shape.OutputColumns();
    ExpectSameBits({rest.begin(), rest.begin() + 5 * row},
                   {expected.begin(), expected.begin() + 5 * row});
    ExpectSameBits({rest.begin() + 5 * row, rest.end()},
                   {expected.begin(), expected.begin() + 2 * row});
    ExpectSameBits(world.Step({{1, 1, kTokens - 72}}), this->From(shape, 72, whole));
    ExpectSameBits(world.Step({{0, 1, kTokens - 75}}), this->From(shape, 75, whole));
  }
}

// Forks of three prompts at random places of a batch: decode rows, drafts, pieces, some that fold.
TYPED_TEST_P(Retention, ReadersOfOneBaseAreEachAlone) {
  std::mt19937 random(3);
  constexpr int32_t kReaders = 14;
  constexpr int32_t kPrompts[] = {124, 70, 128};  // tokens
  int32_t threads = 2;
  for (RetentionShape shape : Shapes()) {
    threads = 9 - threads;
    SCOPED_TRACE(Describe(shape) + ", threads: " + std::to_string(threads));
    shape.slots = 2 * kReaders;  // every fold finds a free base
    auto world = this->MakeWorld(shape, {.folds_into_free_bases = true}, threads);
    std::vector<typename TestFixture::World::Snapshot> prompts;
    std::vector<int32_t> prompt_of;  // of each slot; most readers are of the first one
    for (int32_t slot = 0; slot < kReaders; ++slot) {
      prompt_of.push_back(slot < 3 ? slot : slot < 12 ? 0 : static_cast<int32_t>(random() % 3));
      const int32_t prompt = prompt_of.back();
      if (slot < 3) {
        world.Step({{slot, /*text=*/100u + prompt, kPrompts[prompt]}});
        prompts.push_back(world.Read(slot));
      } else {
        world.Fork(prompt, slot);
      }
    }
    std::vector<std::vector<float>> outputs(kReaders);
    for (int step = 0; step < 10; ++step) {
      typename TestFixture::Parts parts;
      for (int32_t slot = 0; slot < kReaders; ++slot) {
        if (random() % 8 == 0) continue;
        const int32_t left = kChunk - world.position(slot) % kChunk;  // a draft ends with its chunk
        const auto draft = static_cast<int32_t>(random() % 6 == 0 ? 2 + random() % 18 : 1);
        parts.push_back({slot, /*text=*/static_cast<uint32_t>(slot), std::min(draft, left)});
      }
      this->StepShuffled(world, parts, shape, random, &outputs);
    }
    auto alone = this->MakeWorld(shape);
    for (int32_t slot = 0; slot < kReaders; ++slot) {
      SCOPED_TRACE(slot);
      const int32_t prompt = kPrompts[prompt_of[slot]];
      alone.Write(prompts[prompt_of[slot]], 0);
      ExpectSameBits(
          outputs[slot],
          alone.Step({{0, /*text=*/static_cast<uint32_t>(slot), world.position(slot) - prompt}}));
    }
  }
}

TYPED_TEST_P(Retention, DoesNotReadWhatNobodyHasWritten) {
  for (const RetentionShape& shape : Shapes()) {
    SCOPED_TRACE(Describe(shape));
    auto zeros = this->MakeWorld(shape, {.starts_from_nan = false});
    auto nans = this->MakeWorld(shape, {.starts_from_nan = true});
    for (int32_t tokens : {1, 5, 70, 1}) {
      ExpectSameBits(nans.Step({{0, 1, tokens}, {2, 2, tokens + 1}}),
                     zeros.Step({{0, 1, tokens}, {2, 2, tokens + 1}}));
    }
  }
}

TYPED_TEST_P(Retention, DoesNotDependOnThreads) {
  for (const RetentionShape& shape : Shapes()) {
    SCOPED_TRACE(Describe(shape));
    auto one = this->MakeWorld(shape, {}, /*threads=*/1);
    const std::vector<float> outputs = one.Step({{0, 1, kTokens}});
    const std::vector<float> more = one.Step({{0, 1, 1}, {1, 2, 1}});
    for (int32_t threads : {2, 3, 7}) {
      auto world = this->MakeWorld(shape, {}, threads);
      ExpectSameBits(world.Step({{0, 1, kTokens}}), outputs);
      ExpectSameBits(world.Step({{0, 1, 1}, {1, 2, 1}}), more);
      EXPECT_EQ(world.Read(0).tail, one.Read(0).tail);
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(Retention, IsTheTextbooksFunction, CutAnywhereIsWhole,
                            BatchedInAnySlotsIsAlone, ResumedFromBytesIsNeverStopped,
                            TakenBackAndRedoneIsNeverDone, FoldsInPlaceAsIntoAFreeBase,
                            RoundsBasesAtFoldsAlone, SlotsThatShareABaseGoTheirOwnWays,
                            ReadersOfOneBaseAreEachAlone, DoesNotReadWhatNobodyHasWritten,
                            DoesNotDependOnThreads);

}  // namespace retnet

#endif  // RETNET_TESTS_KERNELS_RETENTION_CASES_H_
