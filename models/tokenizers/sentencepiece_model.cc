#include "models/tokenizers/sentencepiece_model.h"

#include <cstring>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "kernels/status_macros.h"

namespace retnet {
namespace {

absl::Status Malformed() {
  return absl::InvalidArgumentError("malformed: a field or a rule ends beyond the bytes");
}

// Reads the fields of one Protocol Buffers message in their order.
class FieldReader {
 public:
  explicit FieldReader(std::string_view bytes) : bytes_(bytes) {}

  // Moves on to the next field. False at the end, and for malformed bytes.
  bool Next() {
    if (bytes_.empty() || !ok_) return false;
    const uint64_t key = Varint();
    number_ = key >> 3;
    switch (key & 7) {
      case 0:
        value_ = Varint();
        break;
      case 1:
        Take(8);
        break;
      case 2:
        text_ = Take(Varint());
        break;
      case 5:
        Take(4);
        break;
      default:
        ok_ = false;
    }
    return ok_;
  }
  bool ok() const { return ok_; }
  uint64_t number() const { return number_; }
  uint64_t value() const { return value_; }        // of a number
  std::string_view text() const { return text_; }  // of a string or a message

 private:
  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::string_view byte = Take(1);
      if (byte.empty()) return 0;
      value |= uint64_t{static_cast<unsigned char>(byte[0]) & 0x7Fu} << shift;
      if ((byte[0] & 0x80) == 0) return value;
    }
    ok_ = false;
    return 0;
  }
  std::string_view Take(uint64_t size) {
    ok_ = ok_ && size <= bytes_.size();
    if (!ok_) return {};
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }

  std::string_view bytes_;
  bool ok_ = true;
  uint64_t number_ = 0;
  uint64_t value_ = 0;
  std::string_view text_;
};

// Lists the keys of a double array, a trie in one array of numbers (Aoe, IEEE Trans. Software Eng.
// 1989) in the layout of the library Darts-clone, with the values that its leaves point to. Equal
// subtries are stored once, so that a unit may be the child of several.
class RuleReader {
 public:
  RuleReader(std::string_view units, std::string_view values,
             std::vector<SentencePieceModel::Rule>* rules)
      : units_(units.size() / sizeof(uint32_t)),
        labels_(units_.size()),
        values_(values),
        rules_(rules) {
    std::memcpy(units_.data(), units.data(), units_.size() * sizeof(uint32_t));
  }

  absl::Status Read() { return units_.empty() ? absl::OkStatus() : ReadBelow(0); }

 private:
  // A unit, from its low bits: label, 8; whether it has a leaf, 1; whether its offset counts 256s,
  // 1; offset, 22. A leaf's unit has its highest bit set, which no label has, and the value below.
  static uint32_t Offset(uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); }
  static uint32_t Label(uint32_t unit) { return unit & (1u << 31 | 0xFF); }

  // The labels of a unit's children, of which `children` is the offset.
  const std::string& Labels(uint32_t node, uint32_t children) {
    std::optional<std::string>& labels = labels_[node];
    if (labels.has_value()) return *labels;
    labels.emplace();
    for (uint32_t label = 1; label < 256; ++label) {
      const uint32_t child = children ^ label;
      if (child >= units_.size() || Label(units_[child]) != label) continue;
      labels->push_back(static_cast<char>(label));
    }
    return *labels;
  }

  absl::Status ReadBelow(uint32_t node) {
    if (++visited_ > kMaxVisits || key_.size() > kMaxKeyBytes) return Malformed();
    const uint32_t unit = units_[node];
    const uint32_t children = node ^ Offset(unit);
    if ((unit >> 8 & 1) != 0) {
      if (children >= units_.size()) return Malformed();
      const uint32_t value = units_[children] & ~(1u << 31);
      const size_t end =
          value < values_.size() ? values_.find('\0', value) : std::string_view::npos;
      if (end == std::string_view::npos) return Malformed();
      rules_->push_back({key_, std::string(values_.substr(value, end - value))});
      rule_bytes_ += key_.size() + (end - value);
      if (rule_bytes_ > kMaxRuleBytes) return Malformed();
    }
    for (const char label : Labels(node, children)) {
      key_.push_back(label);
      RETURN_IF_ERROR(ReadBelow(children ^ static_cast<unsigned char>(label)));
      key_.pop_back();
    }
    return absl::OkStatus();
  }

  // Unicode's own normalization has 225,000 keys of up to 12 bytes.
  static constexpr size_t kMaxVisits = 4 << 20;
  static constexpr size_t kMaxKeyBytes = 256;
  // A value may be that of many keys, which take no more of the file.
  static constexpr size_t kMaxRuleBytes = 64 << 20;
  std::vector<uint32_t> units_;
  std::vector<std::optional<std::string>> labels_;  // of the children of each unit, once needed
  const std::string_view values_;
  std::vector<SentencePieceModel::Rule>* const rules_;
  std::string key_;
  size_t visited_ = 0;
  size_t rule_bytes_ = 0;
};

// Four bytes: the size of the trie; the trie; the values, each ended by a zero.
absl::Status ReadRules(std::string_view bytes, std::vector<SentencePieceModel::Rule>* rules) {
  if (bytes.empty()) return absl::OkStatus();
  uint32_t size = 0;
  if (bytes.size() < sizeof(size)) return Malformed();
  std::memcpy(&size, bytes.data(), sizeof(size));
  bytes.remove_prefix(sizeof(size));
  if (size > bytes.size() || size % sizeof(uint32_t) != 0) return Malformed();
  return RuleReader(bytes.substr(0, size), bytes.substr(size), rules).Read();
}

absl::Status ReadPiece(std::string_view bytes, SentencePieceModel* model) {
  SentencePieceModel::Piece piece;
  FieldReader field(bytes);
  while (field.Next()) {
    if (field.number() == 1) piece.text = field.text();
    if (field.number() == 3) piece.type = field.value();
  }
  model->pieces.push_back(std::move(piece));
  return field.ok() ? absl::OkStatus() : Malformed();
}

absl::Status ReadTrainer(std::string_view bytes, SentencePieceModel* model) {
  FieldReader field(bytes);
  while (field.Next()) {
    if (field.number() == 3) model->algorithm = field.value();
    if (field.number() == 24) model->space_is_suffix = field.value() != 0;
    if (field.number() == 35) model->byte_fallback = field.value() != 0;
  }
  return field.ok() ? absl::OkStatus() : Malformed();
}

absl::Status ReadNormalizer(std::string_view bytes, SentencePieceModel* model) {
  FieldReader field(bytes);
  while (field.Next()) {
    if (field.number() == 2) RETURN_IF_ERROR(ReadRules(field.text(), &model->rules));
    if (field.number() == 3) model->adds_space = field.value() != 0;
    if (field.number() == 4) model->removes_extra_spaces = field.value() != 0;
    if (field.number() == 5) model->marks_spaces = field.value() != 0;
  }
  return field.ok() ? absl::OkStatus() : Malformed();
}

}  // namespace

absl::StatusOr<SentencePieceModel> ParseSentencePieceModel(std::string_view bytes) {
  SentencePieceModel model;
  FieldReader field(bytes);
  while (field.Next()) {
    if (field.number() == 1) RETURN_IF_ERROR(ReadPiece(field.text(), &model));
    if (field.number() == 2) RETURN_IF_ERROR(ReadTrainer(field.text(), &model));
    if (field.number() == 3) RETURN_IF_ERROR(ReadNormalizer(field.text(), &model));
  }
  if (!field.ok()) return Malformed();
  return model;
}

}  // namespace retnet
