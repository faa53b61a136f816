// The numbers of a state in a snapshot: rounded, exact, or not finite.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "engine/snapshots/snapshot.h"
#include "kernels/element.h"
#include "tests/engine/snapshots/sample_snapshot.h"
#include "tests/engine/snapshots/snapshot_bytes.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

const SessionKey kKey = {"ann", "1"};

float Number(const Snapshot& snapshot, size_t index) {
  float number;
  std::memcpy(&number, snapshot.state->data() + index * 4, 4);
  return number;
}

TEST(Snapshot, RoundedItIsSmallerNearAndNoLongerExact) {
  const Snapshot snapshot = SampleSnapshot(kKey, 12);
  const size_t numbers = snapshot.state->size() / 4;
  const std::string exact = EncodeSnapshot(snapshot, SampleFormat()).value();
  const struct {
    StateEncoding encoding;
    size_t saved;
    float error;  // of a number, as a share of the greatest, which no number here exceeds by far
  } cases[] = {{StateEncoding::kBf16, numbers * 2, 1.0f / 256},
               {StateEncoding::kInt8, numbers * 3 - 2 * 4, 0.51f / 127}};
  for (const auto& [encoding, saved, error] : cases) {
    SnapshotFormat format = SampleFormat();
    format.encoding = encoding;
    const std::string bytes = EncodeSnapshot(snapshot, format).value();
    EXPECT_EQ(bytes.size(), exact.size() - saved);
    // Read under any StateEncoding.
    const Snapshot restored = DecodeSnapshot(bytes, SampleFormat()).value();
    EXPECT_FALSE(restored.exact);
    EXPECT_NE(*restored.state, *snapshot.state);
    for (size_t i = 0; i < numbers; ++i) {
      EXPECT_NEAR(Number(restored, i), Number(snapshot, i), 4 * error) << i;
    }
    // Exact storage does not make it exact again.
    const Snapshot again = RoundTrip(restored, SampleFormat());
    ExpectSame(again, restored);
    EXPECT_FALSE(again.exact);
  }
}

TEST(Snapshot, WithoutAStateNothingIsRounded) {
  SnapshotFormat format = SampleFormat();
  format.encoding = StateEncoding::kInt8;
  EXPECT_TRUE(RoundTrip(SampleSnapshot(kKey, 1), format).exact);
}

// The same with every 16 bits of its state the bits of a finite number.
Snapshot Finite16Bits(Snapshot snapshot) {
  auto state = std::make_shared<ByteVector>(*snapshot.state);
  for (size_t i = 1; i < state->size(); i += 2) (*state)[i] &= std::byte{0xBF};
  snapshot.state = std::move(state);
  return snapshot;
}

// And so are they where what is written is rounded: there is nothing left to round.
TEST(Snapshot, StatesOfTheDevices16BitsStayExact) {
  const Snapshot snapshot = Finite16Bits(SampleSnapshot(kKey, 12));
  SnapshotFormat format = SampleFormat();
  format.tail_type = ElementType::kBFloat16;
  for (const ElementType base_type : {ElementType::kBFloat16, ElementType::kFloat16}) {
    format.base_type = base_type;
    for (const StateEncoding encoding :
         {StateEncoding::kExact, StateEncoding::kBf16, StateEncoding::kInt8}) {
      format.encoding = encoding;
      const Snapshot restored = RoundTrip(snapshot, format);
      EXPECT_TRUE(restored.exact);
      EXPECT_EQ(*restored.state, *snapshot.state);
    }
  }
}

TEST(Snapshot, TailsOfTheDevicesBf16StayBitForBit) {
  const Snapshot snapshot = Finite16Bits(SampleSnapshot(kKey, 12));
  SnapshotFormat format = SampleFormat();
  format.tail_type = ElementType::kBFloat16;
  for (const StateEncoding encoding : {StateEncoding::kBf16, StateEncoding::kInt8}) {
    format.encoding = encoding;
    const Snapshot restored = RoundTrip(snapshot, format);
    const auto tail = [&](const Snapshot& of) {
      return ByteVector(of.state->begin() + format.base_bytes, of.state->end());
    };
    EXPECT_EQ(tail(restored), tail(snapshot));
    EXPECT_NE(*restored.state, *snapshot.state);
  }
}

// Forged, with a checksum that is right; in every type and encoding, in base and tail.
TEST(Snapshot, WithANumberThatIsNotFiniteIsDamaged) {
  const Snapshot sound = Finite16Bits(SampleSnapshot(kKey, 12));
  const auto expect_refused = [](const std::string& bytes, const SnapshotFormat& format) {
    const absl::Status status = DecodeSnapshot(Sealed(bytes), format).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("NaN or infinite"));
  };
  using enum ElementType;
  for (const auto& [base_type, tail_type] : {std::pair(kFloat32, kFloat32),
                                             {kFloat32, kBFloat16},
                                             {kBFloat16, kBFloat16},
                                             {kFloat16, kBFloat16}}) {
    SnapshotFormat format = SampleFormat();
    format.base_type = base_type;
    format.tail_type = tail_type;
    const std::string bytes = EncodeSnapshot(sound, format).value();
    const size_t state = bytes.size() - 8 - sound.state->size();
    for (size_t at = 0; at < sound.state->size(); at += 4) {
      const ElementType type = at < format.base_bytes ? base_type : tail_type;
      for (const float number : {std::nanf(""), -HUGE_VALF}) {
        std::string forged = bytes;
        auto* const element = reinterpret_cast<std::byte*>(forged.data() + state + at);
        if (type == kFloat16) {  // to which infinity is rounded as the greatest number
          element[0] = std::byte{0};
          element[1] = std::byte{0x7C};
        } else {
          SetElement(number, type, 0, element);
        }
        expect_refused(forged, format);
      }
    }
  }
  // Encoded: a bf16 that is not finite, and a scale that is not, or with which a number is not.
  SnapshotFormat format = SampleFormat();
  format.encoding = StateEncoding::kBf16;
  std::string forged = EncodeSnapshot(sound, format).value();
  forged.replace(forged.size() - 10, 2, "\x80\x7f");
  expect_refused(forged, format);
  format.encoding = StateEncoding::kInt8;
  const std::string scales[] = {std::string("\0\0\xc0\x7f", 4), "\xff\xff\x7f\x7f"};
  for (const std::string& scale : scales) {
    forged = EncodeSnapshot(sound, format).value();
    const int64_t numbers = static_cast<int64_t>(sound.state->size()) / 4;
    forged.replace(forged.size() - 8 - EncodedFloatBytes(numbers, format.encoding), 4, scale);
    expect_refused(forged, format);
  }
}

// One that this server has come to is not kept: its tokens are.
TEST(Snapshot, AStateThatIsNotFiniteIsLeftOut) {
  Snapshot snapshot = SampleSnapshot(kKey, 12);
  auto state = std::make_shared<ByteVector>(*snapshot.state);
  SetElement(std::nanf(""), ElementType::kFloat32, 7, state->data());
  snapshot.state = std::move(state);
  const Snapshot restored = RoundTrip(snapshot, SampleFormat());
  EXPECT_EQ(restored.history, snapshot.history);
  EXPECT_EQ(restored.shape.position, 0);
  EXPECT_TRUE(restored.state->empty());
}

}  // namespace
}  // namespace retnet
