#include "models/tokenizers/characters.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <array>

namespace retnet {
namespace {

CharacterClass LookUpClass(char32_t c) {
  const uint32_t category = U_GET_GC_MASK(static_cast<UChar32>(c));
  if ((category & U_GC_L_MASK) != 0) return CharacterClass::kLetter;
  if ((category & U_GC_N_MASK) != 0) return CharacterClass::kNumber;
  return u_isUWhiteSpace(static_cast<UChar32>(c)) ? CharacterClass::kSpace : CharacterClass::kOther;
}

// ICU's data are in its library, so that this cannot fail.
const icu::Normalizer2& Normalizer() {
  UErrorCode status = U_ZERO_ERROR;
  return *icu::Normalizer2::getNFCInstance(status);
}

}  // namespace

CharacterClass ClassOf(char32_t c) {
  static const auto kAscii = [] {
    std::array<CharacterClass, 128> classes;
    for (size_t i = 0; i < classes.size(); ++i) classes[i] = LookUpClass(static_cast<char32_t>(i));
    return classes;
  }();
  return c < kAscii.size() ? kAscii[c] : LookUpClass(c);
}

bool IsWordCharacter(char32_t c) {
  const auto code = static_cast<UChar32>(c);
  const uint32_t category = U_GET_GC_MASK(code);
  return (category & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
         u_hasBinaryProperty(code, UCHAR_ALPHABETIC) ||
         u_hasBinaryProperty(code, UCHAR_JOIN_CONTROL);
}

std::string Nfc(std::string_view text) {
  const auto is_ascii = [](char c) { return (c & 0x80) == 0; };
  if (std::all_of(text.begin(), text.end(), is_ascii)) return std::string(text);
  std::string normalized;
  normalized.reserve(text.size());
  icu::StringByteSink<std::string> sink(&normalized);
  UErrorCode status = U_ZERO_ERROR;
  Normalizer().normalizeUTF8(/*options=*/0,
                             icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink,
                             /*edits=*/nullptr, status);
  return normalized;
}

bool BeginsNfc(char32_t c) {
  if (c < 0x300) return true;
  const auto code = static_cast<UChar32>(c);
  UErrorCode status = U_ZERO_ERROR;
  return Normalizer().hasBoundaryBefore(code) &&
         Normalizer().quickCheck(icu::UnicodeString(code), status) == UNORM_YES;
}

char32_t DecomposedFirst(char32_t c) {
  icu::UnicodeString decomposition;
  if (c < 0xC0 || !Normalizer().getDecomposition(static_cast<UChar32>(c), decomposition)) return c;
  return static_cast<char32_t>(decomposition.char32At(0));
}

}  // namespace retnet
