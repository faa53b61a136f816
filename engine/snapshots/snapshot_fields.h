// Numbers and strings as the little-endian bytes of a snapshot. The reader is for foreign bytes: it
// never reads beyond their end and allocates nothing that they do not hold.
#ifndef RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_FIELDS_H_
#define RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_FIELDS_H_

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace retnet {

static_assert(std::endian::native == std::endian::little,
              "numbers are copied as they lie in memory");

class FieldWriter {
 public:
  explicit FieldWriter(std::string* bytes) : bytes_(*bytes) {}

  template <std::integral T>
  void Number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void String(std::string_view text) {
    Number(static_cast<uint32_t>(text.size()));
    bytes_.append(text);
  }
  void Integers(const std::vector<int32_t>& values) {
    Number(static_cast<uint32_t>(values.size()));
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(int32_t));
  }

 private:
  std::string& bytes_;
};

// After the first field that is not wholly there, every one is zero or empty and ok() is false.
class FieldReader {
 public:
  explicit FieldReader(std::string_view bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  std::string_view rest() const { return bytes_; }

  template <std::integral T>
  T Number() {
    T value = 0;
    const std::string_view taken = Take(sizeof(value));
    if (!taken.empty()) std::memcpy(&value, taken.data(), sizeof(value));
    return value;
  }
  std::string_view String() { return Take(Number<uint32_t>()); }
  std::vector<int32_t> Integers() {
    const std::string_view taken = Take(uint64_t{Number<uint32_t>()} * sizeof(int32_t));
    std::vector<int32_t> values(taken.size() / sizeof(int32_t));
    if (!taken.empty()) std::memcpy(values.data(), taken.data(), taken.size());
    return values;
  }
  std::string_view Take(uint64_t size) {
    ok_ = ok_ && size <= bytes_.size();
    if (!ok_) return {};
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace retnet

#endif  // RETNET_ENGINE_SNAPSHOTS_SNAPSHOT_FIELDS_H_
