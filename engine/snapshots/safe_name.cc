#include "engine/snapshots/safe_name.h"

#include "absl/strings/ascii.h"

namespace retnet {
namespace {

constexpr std::string_view kDigits = "0123456789ABCDEF";

bool StandsForItself(unsigned char byte) {
  return absl::ascii_isalnum(byte) || byte == '-' || byte == '_';
}

}  // namespace

std::string SafeName(std::string_view name) {
  std::string safe;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (StandsForItself(byte)) {
      safe += c;
    } else {
      safe += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return safe;
}

std::optional<std::string> NameOfSafe(std::string_view safe) {
  std::string name;
  for (size_t i = 0; i < safe.size(); ++i) {
    if (safe[i] != '%') {
      name += safe[i];
      continue;
    }
    if (i + 2 >= safe.size()) return std::nullopt;
    const size_t high = kDigits.find(safe[i + 1]);
    const size_t low = kDigits.find(safe[i + 2]);
    if (high == kDigits.npos || low == kDigits.npos) return std::nullopt;
    name += static_cast<char>(high << 4 | low);
    i += 2;
  }
  if (SafeName(name) != safe) return std::nullopt;
  return name;
}

}  // namespace retnet
