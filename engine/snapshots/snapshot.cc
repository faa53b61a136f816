#include "engine/snapshots/snapshot.h"

#include <xxhash.h>
#include <zstd.h>

#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/snapshots/snapshot_checks.h"
#include "engine/snapshots/snapshot_fields.h"
#include "engine/snapshots/state_codec.h"
#include "kernels/finite.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

constexpr std::string_view kMagic = "RNETSNAP";
// Version 2 has one field more, the flags. Without flags, version 1 is written, as ever.
constexpr uint32_t kWithoutFlags = 1;
constexpr uint32_t kWithFlags = 2;
constexpr uint8_t kImported = 1;
constexpr uint8_t kSigned = 2;  // an HMAC of all bytes before it is behind the state
constexpr uint8_t kCut = 4;
constexpr uint8_t kKnownFlags = kImported | kSigned | kCut;
constexpr size_t kChecksumBytes = sizeof(uint64_t);

uint64_t Hash(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t HashTokens(const std::vector<TokenId>& tokens) {
  return XXH3_64bits(tokens.data(), tokens.size() * sizeof(TokenId));
}

absl::Time FromNanos(int64_t nanos) {
  if (nanos == std::numeric_limits<int64_t>::max()) return absl::InfiniteFuture();
  if (nanos == std::numeric_limits<int64_t>::min()) return absl::InfinitePast();
  return absl::FromUnixNanos(nanos);
}

int64_t StateBytes(Model::StateShape shape, const SnapshotFormat& format) {
  return shape.Bytes(format.base_bytes, format.tail_token_bytes);
}

// Of a state's numbers, those that are fp32 and come first. There are no fp32 tails behind bases of
// 16 bits.
int64_t Floats(Model::StateShape shape, const SnapshotFormat& format) {
  if (format.base_type != ElementType::kFloat32) return 0;
  const int64_t base = shape.base_position > 0 ? format.base_bytes : 0;
  const bool tail_too = format.tail_type == ElementType::kFloat32;
  return (tail_too ? StateBytes(shape, format) : base) / int64_t{sizeof(float)};
}

int64_t EncodedStateBytes(Model::StateShape shape, const SnapshotFormat& format,
                          StateEncoding encoding) {
  const int64_t floats = Floats(shape, format);
  return StateBytes(shape, format) - floats * int64_t{sizeof(float)} +
         EncodedFloatBytes(floats, encoding);
}

// Whether every number of base and tail is finite. Whatever is computed from another is not either.
bool IsFinite(std::span<const std::byte> state, Model::StateShape shape,
              const SnapshotFormat& format) {
  const int64_t base_bytes = shape.base_position > 0 ? format.base_bytes : 0;
  return !FindNotFinite(state.first(base_bytes), format.base_type) &&
         !FindNotFinite(state.subspan(base_bytes), format.tail_type);
}

uint8_t TypesByte(const SnapshotFormat& format) {
  return static_cast<uint8_t>(static_cast<int>(format.base_type) << 4 |
                              static_cast<int>(format.tail_type));
}

void WriteHeader(const Snapshot& snapshot, const SnapshotFormat& format, FieldWriter out) {
  const bool rounds =
      format.encoding != StateEncoding::kExact && Floats(snapshot.shape, format) > 0;
  const bool has_cut = snapshot.cut.token != kNoToken;
  const auto flags =
      static_cast<uint8_t>((snapshot.imported ? kImported : 0) |
                           (format.key != nullptr ? kSigned : 0) | (has_cut ? kCut : 0));
  out.Number(flags == 0 ? kWithoutFlags : kWithFlags);
  out.Number(static_cast<uint8_t>(format.encoding));
  out.Number(static_cast<uint8_t>(format.zstd_level != 0));
  out.Number(static_cast<uint8_t>(snapshot.exact && !rounds));
  out.Number(TypesByte(format));
  if (flags != 0) out.Number(flags);
  if (has_cut) {
    out.Number(snapshot.cut.token);
    out.Number(snapshot.cut.bytes);
  }
  out.Number(format.model_fingerprint);
  out.Number(format.chunk);
  out.Number(format.base_bytes);
  out.Number(format.tail_token_bytes);
  out.Number(snapshot.shape.base_position);
  out.Number(snapshot.shape.position);
  out.Number(snapshot.version);
  out.Number(absl::ToUnixNanos(snapshot.created));
  out.Number(absl::ToUnixNanos(snapshot.last_used));
  out.Number(absl::ToUnixNanos(snapshot.expires));
  out.String(snapshot.key.owner);
  out.String(snapshot.key.id);
  out.Number(static_cast<uint32_t>(snapshot.labels.size()));
  for (const auto& [name, value] : snapshot.labels) {
    out.String(name);
    out.String(value);
  }
  out.Integers(snapshot.class_runs);
  out.Number(HashTokens(snapshot.history));
  out.Integers(snapshot.history);
}

// Appends the state's two lengths and the state.
absl::Status WriteState(const Snapshot& snapshot, const SnapshotFormat& format,
                        std::string* bytes) {
  std::span<const std::byte> state;
  if (snapshot.state != nullptr) state = *snapshot.state;
  const int64_t floats = Floats(snapshot.shape, format);
  const auto encoding =
      static_cast<uint64_t>(EncodedStateBytes(snapshot.shape, format, format.encoding));
  FieldWriter out(bytes);
  out.Number(encoding);
  if (format.zstd_level == 0) {
    out.Number(encoding);
    bytes->reserve(bytes->size() + encoding + kChecksumBytes);
    AppendEncodedState(state, floats, format.encoding, bytes);
    return absl::OkStatus();
  }
  std::string plain;
  plain.reserve(encoding);
  AppendEncodedState(state, floats, format.encoding, &plain);
  std::string packed(ZSTD_compressBound(plain.size()), '\0');
  const size_t size =
      ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), format.zstd_level);
  if (ZSTD_isError(size)) {
    return absl::InternalError(absl::StrCat("zstd: ", ZSTD_getErrorName(size)));
  }
  out.Number(uint64_t{size});
  bytes->append(packed, 0, size);
  return absl::OkStatus();
}

absl::Status Damaged(std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("a damaged snapshot: ", absl::string_view(what.data(), what.size())));
}

template <typename T>
absl::Status CheckSame(absl::string_view what, T found, T expected) {
  if (found == expected) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the snapshot's ", what, " is ", found, "; here it is ", expected));
}

absl::string_view Name(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return "f32";
    case ElementType::kFloat16:
      return "f16";
    case ElementType::kBFloat16:
      return "bf16";
  }
  return "unknown";
}

// How the state of a snapshot is stored, as its header says.
struct Storage {
  StateEncoding encoding = StateEncoding::kExact;
  bool compressed = false;
  bool is_signed = false;
};

// Reads up to the base position, and refuses what this model cannot go on from.
absl::StatusOr<Storage> ReadStorage(const SnapshotFormat& expected, FieldReader& in,
                                    Snapshot* snapshot) {
  const auto version = in.Number<uint32_t>();
  const std::string known = absl::StrCat(kWithoutFlags, " or ", kWithFlags);
  const bool is_known = version == kWithoutFlags || version == kWithFlags;
  RETURN_IF_ERROR(CheckSame("format version", is_known ? known : absl::StrCat(version), known));
  const auto encoding = in.Number<uint8_t>();
  const auto compressed = in.Number<uint8_t>();
  snapshot->exact = in.Number<uint8_t>() != 0;
  const auto types = in.Number<uint8_t>();
  const auto base_type = static_cast<ElementType>(types >> 4);
  const auto tail_type = static_cast<ElementType>(types & 0xF);
  const auto flags = version == kWithFlags ? in.Number<uint8_t>() : uint8_t{0};
  snapshot->imported = (flags & kImported) != 0;
  if ((flags & kCut) != 0) {
    snapshot->cut.token = in.Number<TokenId>();
    snapshot->cut.bytes = in.Number<int32_t>();
  }
  const auto fingerprint = in.Number<uint64_t>();
  RETURN_IF_ERROR(CheckSame("model fingerprint", absl::StrCat(absl::Hex(fingerprint)),
                            absl::StrCat(absl::Hex(expected.model_fingerprint))));
  RETURN_IF_ERROR(CheckSame("type of bases", Name(base_type), Name(expected.base_type)));
  RETURN_IF_ERROR(CheckSame("type of tails", Name(tail_type), Name(expected.tail_type)));
  RETURN_IF_ERROR(CheckSame("chunk", in.Number<int32_t>(), expected.chunk));
  RETURN_IF_ERROR(CheckSame("size of a base", in.Number<int64_t>(), expected.base_bytes));
  RETURN_IF_ERROR(
      CheckSame("size of a token of a tail", in.Number<int64_t>(), expected.tail_token_bytes));
  if (encoding > static_cast<uint8_t>(StateEncoding::kInt8) || compressed > 1 ||
      (flags & ~kKnownFlags) != 0) {
    return absl::FailedPreconditionError("the snapshot's way of storing states is unknown here");
  }
  if (expected.key != nullptr && (flags & kSigned) == 0) {
    return absl::FailedPreconditionError(
        "the snapshot has no HMAC; this server has a snapshot key and takes only snapshots that "
        "were written with it");
  }
  return Storage{static_cast<StateEncoding>(encoding), compressed != 0, (flags & kSigned) != 0};
}

absl::Status ReadLabels(FieldReader& in, std::map<std::string, std::string>* labels) {
  const auto count = in.Number<uint32_t>();
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    std::string name(in.String());
    std::string value(in.String());
    if (!labels->empty() && name <= labels->rbegin()->first) return Damaged("labels out of order");
    labels->emplace_hint(labels->end(), std::move(name), std::move(value));
  }
  return absl::OkStatus();
}

// Up to the tokens.
absl::Status ReadHead(FieldReader& in, Snapshot* snapshot) {
  snapshot->shape.base_position = in.Number<int32_t>();
  snapshot->shape.position = in.Number<int32_t>();
  snapshot->version = in.Number<uint64_t>();
  snapshot->created = FromNanos(in.Number<int64_t>());
  snapshot->last_used = FromNanos(in.Number<int64_t>());
  snapshot->expires = FromNanos(in.Number<int64_t>());
  snapshot->key.owner = in.String();
  snapshot->key.id = in.String();
  RETURN_IF_ERROR(ReadLabels(in, &snapshot->labels));
  snapshot->class_runs = in.Integers();
  return absl::OkStatus();
}

absl::Status ReadSession(FieldReader& in, Snapshot* snapshot) {
  RETURN_IF_ERROR(ReadHead(in, snapshot));
  const auto hash = in.Number<uint64_t>();
  snapshot->history = in.Integers();
  if (!in.ok()) return Damaged("it ends within its header");
  if (hash != HashTokens(snapshot->history)) return Damaged("its tokens are not those it was of");
  return absl::OkStatus();
}

absl::Status ReadState(const SnapshotFormat& expected, Storage storage, FieldReader& in,
                       Snapshot* snapshot) {
  const auto encoding =
      static_cast<uint64_t>(EncodedStateBytes(snapshot->shape, expected, storage.encoding));
  const bool sized = in.Number<uint64_t>() == encoding;
  std::string_view stored = in.Take(in.Number<uint64_t>());
  if (!in.ok() || in.rest().size() != (storage.is_signed ? SnapshotKey::kHmacBytes : 0) || !sized ||
      (!storage.compressed && stored.size() != encoding)) {
    return Damaged("its state has the wrong size");
  }
  std::string plain;
  if (storage.compressed) {
    plain.resize(encoding);
    const size_t size = ZSTD_decompress(plain.data(), plain.size(), stored.data(), stored.size());
    if (ZSTD_isError(size) || size != encoding) return Damaged("zstd cannot unpack its state");
    stored = plain;
  }
  auto state = std::make_shared<ByteVector>(StateBytes(snapshot->shape, expected));
  DecodeState(stored, Floats(snapshot->shape, expected), storage.encoding, *state);
  if (!IsFinite(*state, snapshot->shape, expected)) {
    return Damaged("its state has a number that is NaN or infinite");
  }
  snapshot->state = std::move(state);
  return absl::OkStatus();
}

}  // namespace

SnapshotFormat MakeSnapshotFormat(const ModelInfo& info, StateEncoding encoding, int zstd_level,
                                  const SnapshotKey* key) {
  return {.model_fingerprint = info.fingerprint,
          .vocab_size = info.vocab_size,
          .chunk = info.chunk,
          .base_bytes = info.base_bytes,
          .tail_token_bytes = info.tail_token_bytes,
          .base_type = info.base_type,
          .tail_type = info.tail_type,
          .encoding = encoding,
          .zstd_level = zstd_level,
          .key = key};
}

int64_t MostSnapshotBytes(const SnapshotFormat& format, int64_t tokens) {
  constexpr int64_t kFieldsAndLabels = 1 << 20;
  constexpr int64_t kTokenBytes = 2 * sizeof(TokenId);  // its id, and a change of class
  const int64_t bytes = kFieldsAndLabels + tokens * kTokenBytes + format.base_bytes +
                        format.chunk * format.tail_token_bytes;
  return bytes + bytes / 64;  // what cannot be compressed grows a little
}

absl::StatusOr<std::string> EncodeSnapshot(const Snapshot& snapshot, const SnapshotFormat& format) {
  RETURN_IF_ERROR(CheckConsistent(snapshot, format));
  const int64_t state_bytes = StateBytes(snapshot.shape, format);
  const size_t given = snapshot.state == nullptr ? 0 : snapshot.state->size();
  if (given != state_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a state of ", snapshot.shape.position, " tokens over a base at ",
                     snapshot.shape.base_position, " takes ", state_bytes, " bytes, not ", given));
  }
  if (given > 0 && !IsFinite(*snapshot.state, snapshot.shape, format)) {
    Snapshot without_state = snapshot;
    without_state.shape = {};
    without_state.state = nullptr;
    return EncodeSnapshot(without_state, format);
  }
  std::string bytes(kMagic);
  WriteHeader(snapshot, format, FieldWriter(&bytes));
  RETURN_IF_ERROR(WriteState(snapshot, format, &bytes));
  if (format.key != nullptr) RETURN_IF_ERROR(format.key->Sign(&bytes));
  FieldWriter(&bytes).Number(Hash(bytes));
  return bytes;
}

absl::StatusOr<Snapshot> DecodeSnapshot(std::string_view bytes, const SnapshotFormat& expected) {
  if (bytes.substr(0, kMagic.size()) != kMagic) return Damaged("it does not begin as one");
  bytes.remove_prefix(kMagic.size());
  if (bytes.size() < kChecksumBytes) return Damaged("it is cut off");
  const std::string_view body = bytes.substr(0, bytes.size() - kChecksumBytes);
  const std::string_view whole(body.data() - kMagic.size(), body.size() + kMagic.size());
  if (FieldReader(bytes.substr(body.size())).Number<uint64_t>() != Hash(whole)) {
    return Damaged("its checksum is that of other bytes");
  }
  FieldReader in(body);
  Snapshot snapshot;
  ASSIGN_OR_RETURN(const Storage storage, ReadStorage(expected, in, &snapshot));
  if (storage.is_signed && expected.key != nullptr) {
    RETURN_IF_ERROR(expected.key->Check(whole));
    snapshot.authentic = true;
  }
  RETURN_IF_ERROR(ReadSession(in, &snapshot));
  if (const absl::Status consistent = CheckConsistent(snapshot, expected); !consistent.ok()) {
    const absl::string_view message = consistent.message();
    return Damaged({message.data(), message.size()});
  }
  RETURN_IF_ERROR(ReadState(expected, storage, in, &snapshot));
  return snapshot;
}

absl::StatusOr<SessionInfo> DecodeSnapshotHead(std::string_view bytes,
                                               const SnapshotFormat& expected) {
  const auto too_short = absl::OutOfRangeError("the bytes end within the head of the snapshot");
  if (bytes.size() < kMagic.size()) return too_short;
  if (!bytes.starts_with(kMagic)) return Damaged("it does not begin as one");
  FieldReader in(bytes.substr(kMagic.size()));
  Snapshot snapshot;
  const absl::Status storage = ReadStorage(expected, in, &snapshot).status();
  if (!in.ok()) return too_short;
  RETURN_IF_ERROR(storage);
  const absl::Status head = ReadHead(in, &snapshot);
  in.Number<uint64_t>();  // the hash of the tokens
  const auto tokens = in.Number<uint32_t>();
  if (!in.ok()) return too_short;
  RETURN_IF_ERROR(head);
  const auto [base, position] = snapshot.shape;
  if (base < 0 || position < base || position > tokens ||
      tokens > std::numeric_limits<int32_t>::max()) {
    return Damaged("its state does not fit its history");
  }
  return SessionInfo{.key = std::move(snapshot.key),
                     .labels = std::move(snapshot.labels),
                     .created = snapshot.created,
                     .last_used = snapshot.last_used,
                     .expires = snapshot.expires,
                     .tokens = static_cast<int32_t>(tokens),
                     .state_tokens = position,
                     .state_bytes = StateBytes(snapshot.shape, expected),
                     .tier = StateTier::kStore,
                     .version = snapshot.version};
}

}  // namespace retnet
